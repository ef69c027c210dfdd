//! Bind mounts: read-only, with other flags, recursive, and their propagation.

use std::fs;
use std::io::ErrorKind;

use rustix::mount::{MountFlags, mount};
use transom_sys::Mount;
use transom_sys::mount::{UnmountFlags, mount_all, unmount_all, unmount_recursive};

use crate::{Room, described, text};

#[test]
fn a_bind_mount_is_read_only_where_it_says_so() {
    let Some(room) = Room::new() else { return };
    let (source, target) = (room.layer("source"), room.folder("target"));
    mount_all(&[Mount::bind(&source, true)], &target).unwrap();
    assert_eq!(fs::read_to_string(target.join("source")).unwrap(), "source");
    let refused = fs::write(target.join("new"), "").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    // The source is not touched by it.
    fs::write(room.path("source/new"), "").unwrap();
    assert_eq!(unmount_all(&target, UnmountFlags::empty()).unwrap(), 1);
    mount_all(&[Mount::bind(&source, false)], &target).unwrap();
    fs::write(target.join("other"), "").unwrap();
    assert!(room.path("source/other").exists());
}

#[test]
fn a_bind_mount_has_the_flags_it_is_given_and_keeps_those_of_its_source() {
    let Some(room) = Room::new() else { return };
    let (source, target) = (room.folder("source"), room.folder("target"));
    mount("tmpfs", &source, "tmpfs", MountFlags::NODEV, None).unwrap();
    let options = |options: &[&str]| {
        let mount = described("bind", &text(&source), options);
        mount_all(&[mount], &target).unwrap();
        let mounted = room.mounted().pop().unwrap();
        assert_eq!(mounted.target, fs::canonicalize(&target).unwrap());
        assert_eq!(unmount_all(&target, UnmountFlags::empty()).unwrap(), 1);
        mounted.options
    };
    assert_eq!(options(&["bind"]), "rw,nodev,relatime");
    assert_eq!(options(&["bind", "nosuid"]), "rw,nosuid,nodev,relatime");
    assert_eq!(options(&["rbind", "ro"]), "ro,nodev,relatime");
    assert_eq!(
        options(&["bind", "ro", "dev", "noatime", "noexec"]),
        "ro,noexec,noatime"
    );
}

#[test]
fn propagation_words_change_the_propagation() {
    let Some(room) = Room::new() else { return };
    let (source, target) = (room.folder("source"), room.folder("target"));
    let below = room.folder("source/below");
    mount("tmpfs", &below, "tmpfs", MountFlags::empty(), None).unwrap();
    mount_all(
        &[described("bind", &text(&source), &["rbind", "rshared"])],
        &target,
    )
    .unwrap();
    let shared = |name: &str| {
        let path = fs::canonicalize(room.path(name)).unwrap();
        let mounted = room
            .mounted()
            .into_iter()
            .find(|mount| mount.target == path)
            .unwrap();
        mounted.propagation.iter().any(|tag| tag.starts_with("shared:"))
    };
    assert!(shared("target") && shared("target/below"));
    let private = described("bind", "", &["remount", "bind", "private"]);
    mount_all(&[private], &target).unwrap();
    assert!(!shared("target") && shared("target/below"));
    // Deepest first; a plain unmount would be busy.
    assert_eq!(unmount_recursive(&target, UnmountFlags::empty()).unwrap(), 2);
    assert_eq!(room.mounted().len(), 1);
}

#[test]
fn a_mount_becomes_read_only_by_a_remount() {
    let Some(room) = Room::new() else { return };
    let target = room.folder("target");
    mount_all(&[described("tmpfs", "none", &["size=1m", "mode=0711"])], &target).unwrap();
    mount_all(&[described("tmpfs", "none", &["remount", "ro"])], &target).unwrap();
    let refused = fs::write(target.join("new"), "").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(room.mounted().len(), 1);
}
