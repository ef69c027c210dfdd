//! File systems of programs.

use std::fs;

use transom_sys::Mount;
use transom_sys::mount::{MountError, TempMounts, UnmountFlags, mount_all, unmount_all};
use transom_tests::needs;

use crate::{Room, described, names, text};

/// An overlay made by a program; `None` if the test must be left out.
fn overlay(room: &Room, option: &str) -> Option<Mount> {
    needs::require_program("fuse-overlayfs")?;
    needs::require_program("mount.fuse3")?;
    let lower = room.layer("lo'wer $(x)");
    let (upper, work) = (text(&room.folder("upper")), text(&room.folder("work")));
    let options = [
        format!("lowerdir={lower}"),
        format!("upperdir={upper}"),
        format!("workdir={work}"),
    ];
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.push(option);
    Some(described("fuse3.fuse-overlayfs", "overlay", &options))
}

#[test]
fn a_program_mounts_and_unmounts_its_file_system() {
    let Some(room) = Room::new() else { return };
    let Some(overlay) = overlay(&room, "noatime") else {
        return;
    };
    let target = room.folder("target");
    mount_all(std::slice::from_ref(&overlay), &target).unwrap();
    assert!(room.mounted()[0].kind.starts_with("fuse"), "{:?}", room.mounted());
    assert_eq!(names(&target), ["lo'wer $(x)"]);
    fs::write(target.join("new"), "x").unwrap();
    assert_eq!(unmount_all(&target, UnmountFlags::empty()).unwrap(), 1);
    assert_eq!(names(&room.path("upper")), ["new"]);
    let temporary = TempMounts::new(&room.path("tmpmounts")).unwrap();
    let mounted = temporary.mount(&[overlay]).unwrap();
    assert_eq!(names(mounted.path()), ["lo'wer $(x)", "new"]);
    mounted.unmount().unwrap();
    assert_eq!(room.mounted(), []);
}

#[test]
fn what_the_program_says_is_in_the_error() {
    let Some(room) = Room::new() else { return };
    let Some(mut overlay) = overlay(&room, "noatime") else {
        return;
    };
    overlay.options[0] = "lowerdir=/no/such/folder".to_owned();
    let target = room.folder("target");
    let error = mount_all(&[overlay], &target).unwrap_err();
    let MountError::Helper { program, output, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*program, "mount.fuse3");
    assert!(output.contains("No such file or directory"), "{output}");
    assert_eq!(room.mounted(), []);
}
