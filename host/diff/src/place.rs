//! Where a layer goes: straight into a folder where that is the same as through the mount, or through a mount.
//!
//! Straight is right for one mount whose upper folder is known: the upper folder of an overlay gets whiteouts as overlayfs
//! wants them, that of aufs as they are in the archive, and the source of a bind mount is the same folder by another name.
//! What would make a difference sends the layer through a mount: a user namespace, where whiteouts cannot be made; mapped
//! ids; marks in another namespace of attributes (`userxattr`); a place below the mount (`target`); a bind mount without what
//! is mounted below its source, if that is a mount point. A mount for reading only is refused, since a mount would refuse
//! each file.

use std::path::PathBuf;

use transom_layer::apply::WhiteoutFormat;
use transom_sys::Mount;

use crate::DiffError;

/// Where a layer goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Straight into a folder.
    Folder(Folder),
    /// Through all mounts, on a place of their own.
    Mounted,
}

/// A folder that stands for a mount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) whiteouts: WhiteoutFormat,
    /// The folders below, topmost first.
    pub(crate) parents: Vec<PathBuf>,
}

/// Options of a bind mount that change nothing for who writes through it; `ro` only where a later `rw` takes it back.
const HARMLESS: [&str; 17] = [
    "ro",
    "rw",
    "rbind",
    "defaults",
    "async",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "dev",
    "nodev",
    "suid",
    "nosuid",
];

/// Decides where a layer goes that shall be applied to `mounts`.
pub(crate) fn of(mounts: &[Mount], in_user_namespace: bool) -> Result<Place, DiffError> {
    check(mounts)?;
    let [mount] = mounts else {
        return Ok(Place::Mounted);
    };
    if !mount.target.is_empty() {
        return Ok(Place::Mounted);
    }
    let folder = match mount.kind.as_str() {
        "overlay" if !in_user_namespace => overlay(mount),
        "aufs" => aufs(mount),
        "bind" => bind(mount),
        _ => None,
    };
    Ok(folder.map_or(Place::Mounted, Place::Folder))
}

/// Refuses what a layer cannot go to.
fn check(mounts: &[Mount]) -> Result<(), DiffError> {
    // The last mount that covers the place itself is what a file at its top goes to.
    let Some(top) = mounts.iter().rfind(|mount| is_top(&mount.target)) else {
        let problem = if mounts.is_empty() {
            "there is no mount to apply the layer to"
        } else {
            "every mount has a target below the place itself, so that nothing is mounted for the layer's own root"
        };
        return Err(DiffError::Mounts {
            problem: problem.to_owned(),
        });
    };
    let has_no_upper = top.is_overlay() && top.upperdir().is_none();
    if has_no_upper || is_read_only(top) {
        let what = if has_no_upper {
            "has no upperdir"
        } else {
            "is mounted ro"
        };
        return Err(DiffError::ReadOnly {
            mount: format!("{} {} {what}", top.kind, top.source),
        });
    }
    Ok(())
}

fn is_top(target: &str) -> bool {
    target.split('/').all(|part| matches!(part, "" | "." | ".."))
}

/// Of words that contradict each other the last one counts.
fn is_read_only(mount: &Mount) -> bool {
    let last = mount
        .options
        .iter()
        .rfind(|option| matches!(option.as_str(), "ro" | "rw"));
    last.is_some_and(|option| option == "ro")
}

fn overlay(mount: &Mount) -> Option<Folder> {
    // Then overlayfs looks for marks that a layer's own attributes could set.
    if mount.options.iter().any(|option| option == "userxattr") {
        return None;
    }
    folder(mount.upperdir()?, WhiteoutFormat::Overlay, mount.lowerdirs())
}

/// `br:<upper>=rw[:<lower>=ro+wh]*`, as containerd's snapshotter for aufs wrote it until 1.x; another form is for the kernel
/// to understand.
fn aufs(mount: &Mount) -> Option<Folder> {
    let branches = |option: &'_ String| option.strip_prefix("br:").map(str::to_owned);
    let branches = mount.options.iter().rev().find_map(branches)?;
    let mut branches = branches.split(':');
    let upper = branches.next()?.strip_suffix("=rw")?.into();
    let lower = branches.map(|branch| branch.strip_suffix("=ro+wh").map(PathBuf::from));
    folder(upper, WhiteoutFormat::Keep, lower.collect::<Option<_>>()?)
}

fn bind(mount: &Mount) -> Option<Folder> {
    let is_harmless = |option: &String| HARMLESS.contains(&option.as_str());
    let takes_all = mount.options.iter().any(|option| option == "rbind");
    if !takes_all || !mount.options.iter().all(is_harmless) {
        return None;
    }
    folder(PathBuf::from(&mount.source), WhiteoutFormat::Plain, Vec::new())
}

/// What is not a path from `/` on is left to the kernel.
fn folder(path: PathBuf, whiteouts: WhiteoutFormat, parents: Vec<PathBuf>) -> Option<Folder> {
    let all_absolute = path.is_absolute() && parents.iter().all(|parent| parent.is_absolute());
    all_absolute.then_some(Folder {
        path,
        whiteouts,
        parents,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, source: &str, options: &[&str]) -> Mount {
        Mount {
            kind: kind.to_owned(),
            source: source.to_owned(),
            target: String::new(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        }
    }

    fn straight(mount: &Mount) -> Option<(PathBuf, WhiteoutFormat, usize)> {
        match of(std::slice::from_ref(mount), false) {
            Ok(Place::Folder(folder)) => Some((folder.path, folder.whiteouts, folder.parents.len())),
            Ok(Place::Mounted) => None,
            Err(error) => panic!("{mount:?}: {error}"),
        }
    }

    #[test]
    fn an_overlay_is_its_upper_folder() {
        let overlay = mount(
            "overlay",
            "overlay",
            &["index=off", "workdir=/w", "upperdir=/u", "lowerdir=/a:/b\\:c"],
        );
        assert_eq!(
            straight(&overlay),
            Some(("/u".into(), WhiteoutFormat::Overlay, 2))
        );
        assert_eq!(
            of(std::slice::from_ref(&overlay), true).unwrap(),
            Place::Mounted,
            "no whiteouts there"
        );
        // As a bind mount arrives whose layers are put below it later.
        let rebased = mount("overlay", "overlay", &["upperdir=/u"]);
        assert_eq!(
            straight(&rebased),
            Some(("/u".into(), WhiteoutFormat::Overlay, 0))
        );
        for other in [
            mount("overlay", "overlay", &["userxattr", "upperdir=/u", "lowerdir=/a"]),
            mount("overlay", "overlay", &["upperdir=u", "lowerdir=/a"]),
            Mount {
                target: "/".into(),
                ..overlay.clone()
            },
        ] {
            assert_eq!(straight(&other), None, "{other:?}");
        }
        assert_eq!(of(&[overlay.clone(), overlay], false).unwrap(), Place::Mounted);
    }

    #[test]
    fn a_bind_mount_is_its_source_if_its_options_change_nothing() {
        let plain = mount("bind", "/s", &["rw", "rbind"]);
        assert_eq!(straight(&plain), Some(("/s".into(), WhiteoutFormat::Plain, 0)));
        assert!(straight(&mount("bind", "/s", &["rbind", "nosuid", "ro", "rw"])).is_some());
        for other in [
            mount("bind", "/s", &["bind", "rw"]),
            mount("bind", "s", &["rbind"]),
            mount("bind", "/s", &["rbind", "uidmap=0:1000:1"]),
            mount("bind", "/s", &["rbind", "sync"]),
            mount("ext4", "/dev/x", &["loop"]),
        ] {
            assert_eq!(straight(&other), None, "{other:?}");
        }
    }

    #[test]
    fn aufs_is_its_first_branch() {
        let aufs = mount("aufs", "none", &["dirperm1", "br:/u=rw:/a=ro+wh:/b=ro+wh"]);
        assert_eq!(straight(&aufs), Some(("/u".into(), WhiteoutFormat::Keep, 2)));
        for options in ["br:/u=rw:/a=rw", "br:/a=ro+wh:/u=rw", "br:/u", "br:/u=rw:a=ro+wh"] {
            assert_eq!(straight(&mount("aufs", "none", &[options])), None, "{options}");
        }
    }

    #[test]
    fn what_cannot_be_written_to_is_refused() {
        for refused in [
            mount("bind", "/s", &["rbind", "ro"]),
            mount("overlay", "overlay", &["lowerdir=/a:/b"]),
            mount("overlay", "overlay", &["ro", "upperdir=/u", "lowerdir=/a"]),
        ] {
            let error = of(&[mount("bind", "/x", &["rbind"]), refused], false).unwrap_err();
            assert!(matches!(error, DiffError::ReadOnly { .. }), "{error}");
        }
        let below = Mount {
            target: "/d".into(),
            ..mount("bind", "/s", &["rbind", "ro"])
        };
        let error = of(std::slice::from_ref(&below), false).unwrap_err();
        assert!(matches!(error, DiffError::Mounts { .. }), "{error}");
        assert!(matches!(of(&[], false), Err(DiffError::Mounts { .. })));
        let over = [mount("bind", "/x", &["rbind"]), below];
        assert_eq!(
            of(&over, false).unwrap(),
            Place::Mounted,
            "only a part is for reading"
        );
    }
}
