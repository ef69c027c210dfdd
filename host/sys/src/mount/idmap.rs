//! Mounts that show other owners than the file system has: `uidmap=` and `gidmap=`.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::mount::{MountAttrFlags, UnmountFlags};

use super::calls::MountSys;
use super::error::MountError;
use super::limits::ID_RANGES_MAX;
use super::options::Options;
use super::place::Place;
use super::sequence::One;
use super::{layers, overlay};

/// The ids of a mount, as the lines of `/proc/PID/uid_map` and `gid_map`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdMaps {
    /// Lines of user ids: shown, on disk, how many.
    pub(super) uids: String,
    /// Lines of group ids.
    pub(super) gids: String,
}

impl IdMaps {
    /// Reads the values of `uidmap` and `gidmap`, each `INSIDE:OUTSIDE:LENGTH`, several with commas between. One alone
    /// maps nothing, as in containerd.
    pub(super) fn parse(uids: Option<&str>, gids: Option<&str>) -> Result<Option<Self>, MountError> {
        let (Some(uids), Some(gids)) = (uids, gids) else {
            return Ok(None);
        };
        Ok(Some(IdMaps {
            uids: lines("uidmap", uids)?,
            gids: lines("gidmap", gids)?,
        }))
    }
}

fn lines(name: &str, list: &str) -> Result<String, MountError> {
    let bad = |reason| MountError::BadOption {
        option: format!("{name}={list}"),
        reason,
    };
    let mut text = String::new();
    let mut count = 0;
    for range in list.split(',') {
        let mut numbers = [0_u32; 3];
        let mut parts = range.split(':');
        for number in &mut numbers {
            let part = parts.next().ok_or_else(|| {
                bad("user namespace mappings require the format `container-id:host-id:size`")
            })?;
            // `parse` would take a plus sign, which the kernel does not.
            if !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(bad("all ids and the size must be positive integers"));
            }
            *number = part
                .parse()
                .map_err(|_| bad("all ids and the size must be integers below 2^32"))?;
        }
        if parts.next().is_some() {
            return Err(bad(
                "user namespace mappings require the format `container-id:host-id:size`",
            ));
        }
        count += 1;
        if count > ID_RANGES_MAX {
            return Err(bad("has more than 340 ranges"));
        }
        let [inside, outside, length] = numbers;
        text.push_str(&format!("{inside} {outside} {length}\n"));
    }
    Ok(text)
}

/// Puts what is mounted at `place` there anew with its ids mapped, in place of the mount that does not map them.
pub(super) fn remap<S: MountSys>(one: &One<'_, S>, place: &Place, ids: &IdMaps) -> Result<(), MountError> {
    let clone = {
        let top = one.place()?;
        one.sys
            .clone_tree(&top.to_call(), true)
            .map_err(|errno| one.refused("open_tree", errno))?
    };
    map(one, clone.as_fd(), ids, MountAttrFlags::empty())?;
    // The whole tree at once: it may have mounts below, which the clone has too.
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    one.sys
        .unmount(place.path.as_os_str().as_bytes(), flags)
        .map_err(|errno| one.refused("unmounting what has no mapped ids", errno))?;
    one.sys
        .move_mount(clone.as_fd(), &place.to_call())
        .map_err(|errno| one.refused("move_mount", errno))
}

/// Mounts an overlay whose lower folders show mapped ids; overlay itself then shows what they show. `data` are its
/// options.
///
/// The folder that all lower folders are in is cloned, mapped and put at the place itself while the overlay is made on
/// top of it. The overlay keeps clones of its own of what is below it, so it is then taken up, the place is cleared, and
/// the overlay put there alone: no other folder is needed that could be left behind.
pub(super) fn overlay<S: MountSys>(
    one: &One<'_, S>,
    place: &Place,
    options: &Options,
    ids: &IdMaps,
) -> Result<(), MountError> {
    let (index, folders) = layers::lower(&options.data).ok_or_else(|| MountError::BadOption {
        option: options.joined(),
        reason: "mapped ids need lowerdir",
    })?;
    let common = overlay::common_folder(&folders).ok_or_else(|| MountError::BadOption {
        option: options.data[index].clone(),
        reason: "mapped ids need lower folders that are all in one folder other than /",
    })?;
    let clone = one
        .sys
        .clone_tree(common.as_bytes(), true)
        .map_err(|errno| one.refused("open_tree of the lower folders", errno))?;
    map(one, clone.as_fd(), ids, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    one.sys
        .move_mount(clone.as_fd(), &place.to_call())
        .map_err(|errno| one.refused("move_mount of the lower folders", errno))?;
    drop(clone);
    let mut mounted = 1;
    let result = over_clone(one, place, options, (index, &folders, common), &mut mounted);
    if result.is_err() {
        for _ in 0..mounted {
            // What counts is the error that came first.
            let _ = unmount_one(one, place, &mut 0);
        }
    }
    result
}

/// Mounts the overlay on the clone at `place`, takes it up, clears the place and puts the overlay there. `mounted` is
/// how many mounts are there that should not stay.
fn over_clone<S: MountSys>(
    one: &One<'_, S>,
    place: &Place,
    options: &Options,
    (index, folders, common): (usize, &[String], &str),
    mounted: &mut u32,
) -> Result<(), MountError> {
    let mut mapped = options.clone();
    {
        // Open while the paths through it are used.
        let opened = one.place()?;
        let top = std::str::from_utf8(&opened.to_call())
            .map(str::to_owned)
            .map_err(|_| MountError::BadText {
                what: "target",
                text: place.path.display().to_string(),
                reason: "is not UTF-8, as the lower folders of mapped ids must be",
            })?;
        let folders: Vec<String> = folders
            .iter()
            .map(|folder| format!("{top}{}", &folder[common.len()..]))
            .collect();
        let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
        mapped.data[index] = overlay::lower_option(&folders);
        layers::attach(one, place, &mapped)?;
    }
    *mounted += 1;
    let overlay = {
        let top = one.place()?;
        one.sys
            .clone_tree(&top.to_call(), false)
            .map_err(|errno| one.refused("open_tree of the overlay", errno))?
    };
    unmount_one(one, place, mounted)?;
    unmount_one(one, place, mounted)?;
    one.sys
        .move_mount(overlay.as_fd(), &place.to_call())
        .map_err(|errno| one.refused("move_mount", errno))
}

/// Takes the topmost mount off `place`, with what is mounted on it.
fn unmount_one<S: MountSys>(one: &One<'_, S>, place: &Place, mounted: &mut u32) -> Result<(), MountError> {
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    one.sys
        .unmount(place.path.as_os_str().as_bytes(), flags)
        .map_err(|errno| one.refused("unmounting the mapped lower folders", errno))?;
    *mounted = mounted.saturating_sub(1);
    Ok(())
}

fn map<S: MountSys>(
    one: &One<'_, S>,
    mount: BorrowedFd<'_>,
    ids: &IdMaps,
    attributes: MountAttrFlags,
) -> Result<(), MountError> {
    let namespace = one
        .sys
        .user_namespace(&ids.uids, &ids.gids)
        .map_err(|errno| one.refused("making a user namespace", errno))?;
    one.sys
        .map_ids(mount, namespace.as_fd(), attributes)
        .map_err(|errno| one.refused("mount_setattr with mapped ids", errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_become_the_kernels_lines() {
        let maps = IdMaps::parse(Some("0:1000:10,10:5000:4294967285"), Some("0:0:1"))
            .unwrap()
            .unwrap();
        assert_eq!(maps.uids, "0 1000 10\n10 5000 4294967285\n");
        assert_eq!(maps.gids, "0 0 1\n");
        assert_eq!(IdMaps::parse(Some("rubbish"), None).unwrap(), None);
        assert_eq!(IdMaps::parse(None, None).unwrap(), None);
    }

    #[test]
    fn maps_that_are_none_are_refused() {
        let many = vec!["0:0:1"; ID_RANGES_MAX + 1].join(",");
        let long = "9".repeat(50);
        let long = format!("0:0:{long}");
        for bad in [
            "",
            "0",
            "0:0",
            "0:0:1:2",
            "a:0:1",
            "0:-1:1",
            "0:+1:1",
            "0: 1:1",
            "0::1",
            "0:0:1,",
            "0:0:4294967296",
            &many,
            &long,
        ] {
            let error = IdMaps::parse(Some("0:0:1"), Some(bad)).unwrap_err();
            assert!(error.to_string().contains("gidmap="), "{error}");
        }
    }
}
