//! What is compared: the folders of an overlay where they say all, otherwise two trees.
//!
//! A snapshot's upper folder holds what changed since its parent, so that only it must be read if the other side is that
//! parent: the lower folders of the right side are all folders of the left one. That is so for an active snapshot and for a
//! view of a committed one, whose topmost lower folder was the upper one.

use std::path::{Path, PathBuf};

use transom_layer::compare::{Changes, OverlayMarks};
use transom_sys::Mount;
use transom_sys::mount::read_only;
use transom_sys::mount::temp::{TempMount, TempMounts};

use crate::DiffError;
use crate::apply::open;

/// The changes of an overlay's upper folder, if `left` is what is below it on the right side. Nothing is mounted.
pub(crate) fn overlay(left: &[Mount], right: &[Mount]) -> Result<Option<Changes>, DiffError> {
    let [mount] = right else { return Ok(None) };
    let (Some(below), Some(folders)) = (layers(left), folders(mount)) else {
        return Ok(None);
    };
    let Some((upper, lowers)) = folders.split_first() else {
        return Ok(None);
    };
    if lowers != below {
        return Ok(None);
    }
    let lowers = lowers.iter().map(|folder| open(folder));
    let uses_user_marks = mount.options.iter().any(|option| option == "userxattr");
    Ok(Some(Changes::Overlay {
        upper: open(upper)?,
        lowers: lowers.collect::<Result<_, _>>()?,
        marks: if uses_user_marks {
            OverlayMarks::User
        } else {
            OverlayMarks::Trusted
        },
    }))
}

/// The folders of all that is mounted, topmost first.
fn layers(mounts: &[Mount]) -> Option<Vec<PathBuf>> {
    match mounts {
        [] => Some(Vec::new()),
        [mount] => folders(mount),
        _ => None,
    }
}

/// The folders that a mount shows, topmost first, if that is all there is to it.
fn folders(mount: &Mount) -> Option<Vec<PathBuf>> {
    let maps_ids = |option: &String| option.starts_with("uidmap=") || option.starts_with("gidmap=");
    if !mount.target.is_empty() || mount.options.iter().any(maps_ids) {
        return None;
    }
    let folders = match mount.kind.as_str() {
        "overlay" => mount.upperdir().into_iter().chain(mount.lowerdirs()).collect(),
        // What is mounted below it would be seen through the mount and not in the folder.
        "bind" if !has_mounts_below(&mount.source) => vec![PathBuf::from(&mount.source)],
        _ => return None,
    };
    let folders: Vec<PathBuf> = folders;
    folders
        .iter()
        .all(|folder| folder.is_absolute())
        .then_some(folders)
}

fn has_mounts_below(folder: &str) -> bool {
    let Ok(folder) = std::fs::canonicalize(folder) else {
        return true;
    };
    let mounts = transom_sys::mount::info::mounts(&transom_sys::Linux);
    mounts.is_ok_and(|mounts| {
        mounts
            .iter()
            .any(|mount| mount.target != folder && mount.target.starts_with(&folder))
    })
}

/// Two trees on places of their own.
pub(crate) struct Mounted {
    lower: Option<TempMount>,
    upper: TempMount,
}

impl Mounted {
    /// Mounts both: the left side as it is, the right one read-only, so that an overlay that is in use is not disturbed.
    pub(crate) fn mount(temp: &TempMounts, left: &[Mount], right: &[Mount]) -> Result<Mounted, DiffError> {
        let lower = if left.is_empty() {
            None
        } else {
            Some(temp.mount(left)?)
        };
        let upper = temp.mount(&read_only(right))?;
        Ok(Mounted { lower, upper })
    }

    /// The trees, open.
    pub(crate) fn changes(&self) -> Result<Changes, DiffError> {
        let lower = self.lower.as_ref().map(|lower| open(lower.path()));
        Ok(Changes::Trees {
            lower: lower.transpose()?,
            upper: open(self.upper.path())?,
        })
    }

    pub(crate) fn place(&self) -> &Path {
        self.upper.path()
    }

    pub(crate) fn unmount(self) -> Result<(), DiffError> {
        let unmounted = self.upper.unmount();
        if let Some(lower) = self.lower {
            lower.unmount()?;
        }
        Ok(unmounted?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay_of(folder: &Path, upper: Option<&str>, lowers: &[&str]) -> Mount {
        let path = |name: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).expect("a folder");
            path.to_str().expect("text").to_owned()
        };
        let lowers: Vec<String> = lowers.iter().map(|name| path(name)).collect();
        let lowers: Vec<&str> = lowers.iter().map(String::as_str).collect();
        let (upper, work) = (upper.map(path), path("work"));
        Mount::overlay(&lowers, upper.as_deref().map(|upper| (upper, work.as_str())), &[])
    }

    fn is_fast(left: &[Mount], right: &[Mount]) -> bool {
        overlay(left, right).expect("the folders are there").is_some()
    }

    #[test]
    fn an_upper_folder_says_all_only_over_the_same_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |upper, lowers: &[&str]| overlay_of(folder.path(), upper, lowers);
        let source = folder.path().join("a").to_str().expect("text").to_owned();
        let active = of(Some("up"), &["a", "b"]);
        assert!(is_fast(&[of(None, &["a", "b"])], std::slice::from_ref(&active)));
        assert!(
            is_fast(&[of(None, &["b"])], &[of(None, &["a", "b"])]),
            "a committed snapshot"
        );
        assert!(is_fast(&[Mount::bind(&source, true)], &[of(Some("up"), &["a"])]));
        assert!(is_fast(&[], &[Mount::bind(&source, false)]), "without a parent");
        for (left, right) in [
            (vec![of(None, &["b", "a"])], active.clone()),
            (vec![of(None, &["a"])], active.clone()),
            (vec![], active.clone()),
            (vec![of(None, &["a"]), of(None, &["b"])], active.clone()),
            (
                vec![of(None, &["a", "b"])],
                Mount {
                    target: "t".into(),
                    ..active.clone()
                },
            ),
        ] {
            assert!(
                !is_fast(&left, std::slice::from_ref(&right)),
                "{left:?} {right:?}"
            );
        }
        let mut mapped = active.clone();
        mapped.options.insert(0, "uidmap=0:1000:1".into());
        assert!(!is_fast(&[of(None, &["a", "b"])], &[mapped]));
        assert!(!is_fast(&[of(None, &["a", "b"])], &[active.clone(), active]));
    }
}
