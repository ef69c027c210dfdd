//! Temporary mounts.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;

use rustix::mount::{MountFlags, mount};
use transom_sys::Mount;
use transom_sys::mount::{MountError, TempMounts, mount_all};

use crate::{Room, described, names, text};

#[test]
fn a_temporary_mount_goes_with_its_guard() {
    let Some(room) = Room::new() else { return };
    let (one, two) = (room.layer("one"), room.layer("two"));
    let temporary = TempMounts::new(&room.path("tmpmounts")).unwrap();
    let overlay = Mount::overlay(&[&two, &one], None, &["volatile"]);
    let first = temporary.mount(&[overlay]).unwrap();
    let second = temporary.mount(&[Mount::bind(&one, false)]).unwrap();
    assert_eq!(names(first.path()), ["one", "two"]);
    assert_eq!(
        fs::metadata(temporary.folder()).unwrap().permissions().mode() & 0o7777,
        0o700
    );
    assert_eq!(names(temporary.folder()).len(), 2);
    first.unmount().unwrap();
    drop(second);
    assert_eq!(names(temporary.folder()), [] as [&str; 0]);
    assert_eq!(room.mounted(), []);
    assert_eq!(names(&room.path("one")), ["one"]);
}

#[test]
fn mounts_below_a_temporary_one_come_off_too() {
    let Some(room) = Room::new() else { return };
    let source = room.folder("source");
    let below = room.folder("source/below");
    mount("tmpfs", &below, "tmpfs", MountFlags::empty(), None).unwrap();
    let temporary = TempMounts::new(&room.path("tmpmounts")).unwrap();
    let mounted = temporary
        .mount(&[described("bind", &text(&source), &["rbind", "ro"])])
        .unwrap();
    assert_eq!(room.mounted().len(), 3);
    mounted.unmount().unwrap();
    assert_eq!(room.mounted().len(), 1);
    assert_eq!(names(temporary.folder()), [] as [&str; 0]);
}

#[test]
fn a_mount_that_fails_leaves_no_folder() {
    let Some(room) = Room::new() else { return };
    let one = room.layer("one");
    let temporary = TempMounts::new(&room.path("tmpmounts")).unwrap();
    let mounts = [Mount::bind(&one, false), described("no-such-type", "x", &[])];
    temporary.mount(&mounts).unwrap_err();
    assert_eq!(names(temporary.folder()), [] as [&str; 0]);
    assert_eq!(room.mounted(), []);
}

#[test]
fn leftovers_are_cleaned_but_never_what_is_in_them() {
    let Some(room) = Room::new() else { return };
    let one = room.layer("one");
    let folder = room.folder("tmpmounts");
    // What another process left: a mount, an empty folder, a folder with a file, and something that is not ours.
    for name in ["mount-1", "mount-2", "mount-3", "other"] {
        room.folder(&format!("tmpmounts/{name}"));
    }
    mount_all(&[Mount::bind(&one, false)], &folder.join("mount-1")).unwrap();
    mount_all(&[Mount::bind(&one, false)], &folder.join("mount-1")).unwrap();
    fs::write(folder.join("mount-3/precious"), "x").unwrap();
    let temporary = TempMounts::new(&folder).unwrap();
    let live = temporary.mount(&[Mount::bind(&one, false)]).unwrap();
    let kept = temporary.clean().unwrap();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].to_string().contains("mount-3"), "{}", kept[0]);
    assert_eq!(names(&folder), ["mount-3", "mount-4", "other"]);
    assert_eq!(names(live.path()), ["one"]);
    assert_eq!(names(&room.path("one")), ["one"]);
    assert_eq!(names(&folder.join("mount-3")), ["precious"]);
}

#[test]
fn a_busy_mount_stays_until_it_is_cleaned() {
    let Some(room) = Room::new() else { return };
    let one = room.layer("one");
    let temporary = TempMounts::new(&room.path("tmpmounts")).unwrap();
    let mounted = temporary.mount(&[Mount::bind(&one, false)]).unwrap();
    let held = File::open(mounted.path().join("one")).unwrap();
    let error = mounted.unmount().unwrap_err();
    assert!(matches!(error, MountError::Busy { .. }), "{error}");
    assert_eq!(names(&room.path("one")), ["one"]);
    drop(held);
    assert_eq!(temporary.clean().unwrap().len(), 0);
    assert_eq!(names(temporary.folder()), [] as [&str; 0]);
}
