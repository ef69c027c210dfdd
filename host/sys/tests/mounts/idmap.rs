//! Mounts that show other owners than the files have.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use transom_sys::Mount;
use transom_sys::mount::{UnmountFlags, mount_all, unmount_all};

use crate::{Room, described, text};

const MAPS: [&str; 2] = ["uidmap=0:1000:65536", "gidmap=0:2000:65536"];

fn owner(path: &Path) -> (u32, u32) {
    let about = fs::metadata(path).unwrap();
    (about.uid(), about.gid())
}

#[test]
fn a_bind_mount_shows_mapped_owners() {
    let Some(room) = Room::new() else { return };
    let (source, target) = (room.layer("source"), room.folder("target"));
    chown(room.path("source/source"), Some(5), Some(6)).unwrap();
    for writes in ["rw", "ro"] {
        mount_all(
            &[described("bind", &source, &["rbind", writes, MAPS[0], MAPS[1]])],
            &target,
        )
        .unwrap();
        assert_eq!(owner(&target.join("source")), (1005, 2006));
        assert_eq!(owner(&room.path("source/source")), (5, 6));
        assert_eq!(fs::write(target.join("source"), "").is_err(), writes == "ro");
        // The mount that was there first is not left under it.
        assert_eq!(room.mounted().len(), 1);
        assert_eq!(unmount_all(&target, UnmountFlags::empty()).unwrap(), 1);
    }
}

#[test]
fn an_overlay_shows_mapped_owners_of_its_lower_folders() {
    let Some(room) = Room::new() else { return };
    let (one, two) = (room.layer("layers/one/fs"), room.layer("layers/two/fs"));
    chown(room.path("layers/one/fs/fs"), Some(1), Some(1)).unwrap();
    chown(room.path("layers/two/fs/fs"), Some(5), Some(6)).unwrap();
    let (upper, work) = (room.folder("layers/three/fs"), room.folder("layers/three/work"));
    let target = room.folder("target");
    let overlay = Mount::overlay(&[&two, &one], Some((&text(&upper), &text(&work))), &MAPS);
    mount_all(&[overlay], &target).unwrap();
    assert_eq!(owner(&target.join("fs")), (1005, 2006));
    // A copy keeps the owner that was shown.
    fs::write(target.join("fs"), "changed").unwrap();
    assert_eq!(owner(&upper.join("fs")), (1005, 2006));
    assert_eq!(owner(&room.path("layers/two/fs/fs")), (5, 6));
    let mounted = room.mounted();
    assert_eq!(mounted.len(), 1, "{mounted:?}");
    assert_eq!(mounted[0].kind, "overlay");
    assert_eq!(unmount_all(&target, UnmountFlags::empty()).unwrap(), 1);
}

#[test]
fn five_hundred_mapped_lower_folders_are_mounted() {
    let Some(room) = Room::new() else { return };
    let lower: Vec<String> = (0..500)
        .map(|number| room.layer(&format!("layers/{number}/fs")))
        .collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let target = room.folder("target");
    mount_all(&[Mount::overlay(&lower, None, &MAPS)], &target).unwrap();
    assert_eq!(owner(&target.join("fs")), (1000, 2000));
    assert_eq!(room.mounted().len(), 1);
}

#[test]
fn maps_that_the_kernel_refuses_leave_nothing_mounted() {
    let Some(room) = Room::new() else { return };
    let (one, two) = (room.layer("layers/one"), room.layer("layers/two"));
    let target = room.folder("target");
    // Two ranges that overlap.
    let maps = ["uidmap=0:1000:10,5:2000:10", "gidmap=0:1000:10"];
    mount_all(&[Mount::overlay(&[&two, &one], None, &maps)], &target).unwrap_err();
    mount_all(&[described("bind", &one, &["bind", maps[0], maps[1]])], &target).unwrap_err();
    assert_eq!(room.mounted(), []);
}
