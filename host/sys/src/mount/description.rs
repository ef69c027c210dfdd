//! What is mounted, how and where: the [`Mount`] that snapshotters give out and clients send.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::error::MountError;
use super::overlay;

/// One mount, as snapshotters give it out and as clients send it (containerd's `types.Mount`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// The type of the file system: `bind`, `overlay`, `ext4`.
    pub kind: String,
    /// What is mounted: a folder, a device, or a name that means nothing.
    pub source: String,
    /// Where below the place that the caller mounts at; empty for that place itself.
    pub target: String,
    /// Options as `fstab(5)` has them, one in each string.
    pub options: Vec<String>,
}

impl Mount {
    /// A bind mount of `source` with all that is mounted below it, read-only if asked: what snapshotters give for one
    /// folder.
    #[must_use]
    pub fn bind(source: &str, read_only: bool) -> Self {
        Mount {
            kind: "bind".to_owned(),
            source: source.to_owned(),
            target: String::new(),
            options: vec![if read_only { "ro" } else { "rw" }.to_owned(), "rbind".to_owned()],
        }
    }

    /// An overlay of `lower`, topmost first, with the upper and the work folder in `upper` if it can be written to.
    /// Options come in containerd's order: `extra`, `workdir`, `upperdir`, `lowerdir`. What has a meaning to overlay in
    /// a path (`\`, `,`, and `:` between lower folders) is escaped with a backslash, as the kernel undoes it.
    #[must_use]
    pub fn overlay(lower: &[&str], upper: Option<(&str, &str)>, extra: &[&str]) -> Self {
        let mut options: Vec<String> = extra.iter().map(|&option| option.to_owned()).collect();
        if let Some((upper, work)) = upper {
            options.push(format!("workdir={}", overlay::escape(work)));
            options.push(format!("upperdir={}", overlay::escape(upper)));
        }
        options.push(overlay::lower_option(lower));
        Mount {
            kind: "overlay".to_owned(),
            source: "overlay".to_owned(),
            target: String::new(),
            options,
        }
    }

    /// Whether it is an overlay.
    #[must_use]
    pub fn is_overlay(&self) -> bool {
        self.kind == "overlay"
    }

    /// Whether nothing can be written through it, as far as its description says: an overlay without an upper folder, a
    /// file system that has no writing, or `ro`. A kind with the prefixes of containerd's mount manager counts as what is
    /// behind them, and an option may be several with commas between.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let kind = self.kind.rsplit('/').next().unwrap_or_default();
        let mut words = self.options.iter().flat_map(|option| overlay::split_data(option));
        match kind {
            "erofs" | "squashfs" | "iso9660" => true,
            "overlay" => {
                let words: Vec<&str> = words.collect();
                words.contains(&"ro") || !words.iter().any(|word| word.starts_with("upperdir="))
            }
            _ => words.any(|word| word == "ro"),
        }
    }

    /// The value of the last option `name=value`, as it stands.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let value = |option: &'_ String| -> Option<usize> {
            let rest = option.strip_prefix(name)?.strip_prefix('=')?;
            Some(option.len() - rest.len())
        };
        self.options
            .iter()
            .rev()
            .find_map(|option| value(option).map(|start| &option[start..]))
    }

    /// An overlay's folder for changes, escapes undone; `None` if nothing can be written to it.
    #[must_use]
    pub fn upperdir(&self) -> Option<PathBuf> {
        self.option("upperdir")
            .map(|value| path(&overlay::unescape(value)))
    }

    /// An overlay's work folder, escapes undone.
    #[must_use]
    pub fn workdir(&self) -> Option<PathBuf> {
        self.option("workdir")
            .map(|value| path(&overlay::unescape(value)))
    }

    /// An overlay's lower folders, topmost first, escapes undone.
    #[must_use]
    pub fn lowerdirs(&self) -> Vec<PathBuf> {
        let Some(value) = self.option("lowerdir") else {
            return Vec::new();
        };
        overlay::split_lower(value)
            .iter()
            .map(|folder| path(folder))
            .collect()
    }
}

fn path(text: &str) -> PathBuf {
    Path::new(OsStr::from_bytes(text.as_bytes())).to_path_buf()
}

/// Refuses what would end early in the kernel's eyes.
pub(super) fn refuse_nul(what: &'static str, text: &str) -> Result<(), MountError> {
    if text.contains('\0') {
        return Err(MountError::BadText {
            what,
            text: text.to_owned(),
            reason: "holds a NUL byte",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, options: &[&str]) -> Mount {
        Mount {
            kind: kind.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            ..Mount::default()
        }
    }

    #[test]
    fn the_folders_of_an_overlay_are_found() {
        let overlay = Mount::overlay(&["/l:2", "/l,1"], Some(("/u:", "/w\\")), &["index=off"]);
        assert_eq!(
            overlay.options,
            [
                "index=off",
                "workdir=/w\\\\",
                "upperdir=/u\\:",
                "lowerdir=/l\\:2:/l\\,1"
            ]
        );
        assert_eq!(overlay.lowerdirs(), [Path::new("/l:2"), Path::new("/l,1")]);
        assert_eq!(overlay.upperdir().unwrap(), Path::new("/u:"));
        assert_eq!(overlay.workdir().unwrap(), Path::new("/w\\"));
        let bind = Mount::bind("/a", true);
        assert!(bind.upperdir().is_none() && bind.lowerdirs().is_empty());
        assert_eq!(bind.options, ["ro", "rbind"]);
        // What is only the beginning of the name is another option.
        assert_eq!(
            mount("overlay", &["lowerdir+=/a", "upper=x", "lowerdir"]).option("lowerdir"),
            None
        );
        assert_eq!(mount("x", &["a=1", "a=2"]).option("a"), Some("2"));
    }

    #[test]
    fn what_cannot_be_written_to_is_known() {
        let read_only = [
            mount("erofs", &["rw"]),
            mount("overlay", &["lowerdir=/a:/b"]),
            mount("overlay", &["upperdir=/u", "ro"]),
            mount("format/mkdir/overlay", &["lowerdir=/a"]),
            mount("bind", &["rbind", "ro"]),
            mount("ext4", &["ro,noatime"]),
        ];
        for mount in read_only {
            assert!(mount.is_read_only(), "{mount:?}");
        }
        let written = [
            mount("overlay", &["upperdir=/u", "lowerdir=/a"]),
            mount("overlay", &["lowerdir=a,upperdir=b"]),
            mount("bind", &["rbind", "rw"]),
            mount("ext4", &["errors=ro"]),
        ];
        for mount in written {
            assert!(!mount.is_read_only(), "{mount:?}");
        }
    }
}
