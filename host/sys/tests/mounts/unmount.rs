//! Unmounting what is stacked, busy, or not there.

use std::fs::File;

use transom_sys::Mount;
use transom_sys::mount::{MountError, UnmountFlags, mount_all, unmount_all};

use crate::{Room, names};

#[test]
fn everything_that_is_stacked_comes_off() {
    let Some(room) = Room::new() else { return };
    let (source, target) = (room.layer("source"), room.folder("target"));
    for _ in 0..3 {
        mount_all(&[Mount::bind(&source, true)], &target).unwrap();
    }
    assert_eq!(unmount_all(&target, UnmountFlags::empty()).unwrap(), 3);
    assert_eq!(unmount_all(&target, UnmountFlags::empty()).unwrap(), 0);
    assert_eq!(
        unmount_all(&room.path("missing"), UnmountFlags::empty()).unwrap(),
        0
    );
    assert_eq!(names(&target), [] as [&str; 0]);
}

#[test]
fn a_busy_mount_is_an_error_and_can_be_detached() {
    let Some(room) = Room::new() else { return };
    let (source, target) = (room.layer("source"), room.folder("target"));
    mount_all(&[Mount::bind(&source, true)], &target).unwrap();
    let held = File::open(target.join("source")).unwrap();
    let error = unmount_all(&target, UnmountFlags::empty()).unwrap_err();
    assert!(matches!(error, MountError::Busy { .. }), "{error}");
    assert_eq!(room.mounted().len(), 1);
    assert_eq!(unmount_all(&target, UnmountFlags::DETACH).unwrap(), 1);
    drop(held);
}
