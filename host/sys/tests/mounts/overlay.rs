//! Overlays: names with special letters, and more lower folders than fit into a page.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use transom_sys::mount::{self, MountError, UnmountFlags, mount_all, read_only, unmount_all};
use transom_sys::{Errno, Linux, Mount, Op, Recorded};

use crate::{Room, described, names, text};

#[test]
fn an_overlay_is_written_to_and_read_again_while_it_is_mounted() {
    let Some(room) = Room::new() else { return };
    let (one, two) = (room.layer("one"), room.layer("two"));
    let (upper, work) = (room.folder("upper"), room.folder("work"));
    let (target, second) = (room.folder("target"), room.folder("second"));
    let overlay = Mount::overlay(&[&two, &one], Some((&text(&upper), &text(&work))), &["index=off"]);
    mount_all(std::slice::from_ref(&overlay), &target).unwrap();
    fs::write(target.join("new"), "").unwrap();
    fs::remove_file(target.join("one")).unwrap();
    // What Compare does with a snapshot that is in use.
    mount_all(&read_only(&[overlay]), &second).unwrap();
    assert_eq!(names(&second), ["new", "two"]);
    let refused = fs::write(second.join("x"), "").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
    unmount_all(&second, UnmountFlags::empty()).unwrap();
    unmount_all(&target, UnmountFlags::empty()).unwrap();
    assert_eq!(names(&upper), ["new", "one"]);
}

#[test]
fn colons_commas_and_backslashes_in_paths_reach_the_kernel_as_they_are() {
    let Some(room) = Room::new() else { return };
    let (one, two) = (room.layer("o:n,e\\"), room.layer("t,w:o \\:"));
    let (upper, work) = (room.folder("u:p\\,r"), room.folder("w:o,r\\k"));
    let target = room.folder("target,:\\");
    let overlay = Mount::overlay(&[&two, &one], Some((&text(&upper), &text(&work))), &[]);
    assert_eq!(overlay.lowerdirs(), [Path::new(&two), Path::new(&one)]);
    mount_all(std::slice::from_ref(&overlay), &target).unwrap();
    fs::write(target.join("new"), "").unwrap();
    assert_eq!(names(&upper), ["new"]);
    assert_eq!(names(&target), ["new", "o:n,e\\", "t,w:o \\:"]);
    let mounted = room.mounted();
    assert_eq!(mounted[0].target, fs::canonicalize(&target).unwrap());
    unmount_all(&target, UnmountFlags::empty()).unwrap();
    mount_all(&read_only(&[overlay]), &target).unwrap();
    assert_eq!(names(&target), ["new", "o:n,e\\", "t,w:o \\:"]);
}

/// 500 lower folders with paths of more than 60 bytes, the topmost first.
fn many(room: &Room, parent: &str) -> Vec<String> {
    let numbers = (0..500).rev();
    numbers
        .map(|number| room.layer(&format!("{parent}/{number:032}")))
        .collect()
}

fn overlay_of(room: &Room, lower: &[String]) -> Mount {
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let (upper, work) = (text(&room.folder("upper")), text(&room.folder("work")));
    Mount::overlay(&lower, Some((&upper, &work)), &["index=off"])
}

#[test]
fn five_hundred_lower_folders_are_mounted() {
    let Some(room) = Room::new() else { return };
    let (lower, target) = (many(&room, "layers"), room.folder("target"));
    mount_all(&[overlay_of(&room, &lower)], &target).unwrap();
    assert_eq!(names(&target).len(), 500);
    fs::write(target.join("new"), "").unwrap();
    assert_eq!(names(&room.path("upper")), ["new"]);
}

#[test]
fn five_hundred_lower_folders_are_mounted_without_the_newer_calls() {
    let Some(room) = Room::new() else { return };
    // Names short enough that what is left of them behind the common folder fits into a page.
    let lower: Vec<String> = (0..500)
        .rev()
        .map(|number| room.layer(&format!("{}/{number}", "x".repeat(100))))
        .collect();
    let target = room.folder("target");
    for (op, errno) in [(Op::Fsopen, Errno::NOSYS), (Op::Fsconfig, Errno::INVAL)] {
        let sys = Recorded::new(Linux);
        sys.fail_from(op, 0, errno);
        mount::on(&sys, &[overlay_of(&room, &lower)], &target).unwrap();
        let calls = sys.calls();
        let call = calls.iter().find(|call| call.op == Op::Mount).unwrap();
        assert!(
            String::from_utf8_lossy(&call.name)
                .ends_with(&format!(" in {}", text(&room.path(&"x".repeat(100)))))
        );
        assert_eq!(names(&target).len(), 500);
        fs::write(target.join("new"), "").unwrap();
        assert_eq!(unmount_all(&target, UnmountFlags::empty()).unwrap(), 1);
        fs::remove_file(room.path("upper/new")).unwrap();
    }
}

#[test]
fn five_hundred_lower_folders_with_long_names_are_mounted_without_the_newer_calls() {
    let Some(room) = Room::new() else { return };
    // Behind the folder that they are all in, they still take four pages.
    let lower = many(&room, "lay:ers");
    let target = room.folder("target");
    let sys = Recorded::new(Linux);
    mount::on(&sys, &[overlay_of(&room, &lower)], &target).unwrap();
    // A colon in a path means different things to the newer call in different kernels.
    assert!(!sys.counts().contains_key(&Op::Fsopen));
    let calls = sys.calls();
    let call = calls.iter().find(|call| call.op == Op::Mount).unwrap();
    assert!(String::from_utf8_lossy(&call.name).ends_with("/fd"));
    fs::write(target.join("new"), "").unwrap();
    assert!(target.join(format!("{:032}", 499)).exists());
    // Nothing of it is open any more.
    assert_eq!(unmount_all(&target, UnmountFlags::empty()).unwrap(), 1);
}

#[test]
fn a_missing_lower_folder_is_named() {
    let Some(room) = Room::new() else { return };
    let target = room.folder("target");
    let mut lower = many(&room, "layers");
    lower[250] = text(&room.path("missing"));
    let error = mount_all(&[overlay_of(&room, &lower)], &target).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOENT));
    assert!(error.to_string().contains("missing"), "{error}");
    assert_eq!(room.mounted(), []);
}

#[test]
fn what_overlay_does_not_know_is_refused_and_leaves_nothing() {
    let Some(room) = Room::new() else { return };
    let (lower, target) = (room.layer("lower"), room.folder("target"));
    let other = room.layer("other");
    let option = format!("lowerdir={lower}:{other}");
    let mount = described("overlay", "overlay", &[&option, "no-such-option"]);
    let error = mount_all(&[Mount::bind(&lower, true), mount], &target).unwrap_err();
    assert!(
        matches!(
            error,
            MountError::Mount {
                errno: Errno::INVAL,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(room.mounted(), []);
}
