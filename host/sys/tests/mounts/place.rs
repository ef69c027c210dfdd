//! Mounts with a place of their own inside the one that is mounted at.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use transom_sys::mount::{MountError, UnmountFlags, mount_all, unmount_recursive};
use transom_sys::{Errno, Mount};

use crate::{Room, names};

fn inside(source: &str, target: &str, read_only: bool) -> Mount {
    Mount {
        target: target.to_owned(),
        ..Mount::bind(source, read_only)
    }
}

#[test]
fn a_second_mount_goes_into_the_first() {
    let Some(room) = Room::new() else { return };
    let (root, data) = (room.layer("root"), room.layer("data"));
    fs::create_dir_all(room.path("root/var/lib")).unwrap();
    let target = room.folder("target");
    mount_all(
        &[inside(&root, "", false), inside(&data, "/var/lib", true)],
        &target,
    )
    .unwrap();
    assert_eq!(names(&target.join("var/lib")), ["data"]);
    fs::write(target.join("new"), "").unwrap();
    fs::write(target.join("var/lib/new"), "").unwrap_err();
    assert_eq!(unmount_recursive(&target, UnmountFlags::empty()).unwrap(), 2);
    assert_eq!(room.mounted(), []);
}

#[test]
fn links_do_not_lead_out_of_the_root() {
    let Some(room) = Room::new() else { return };
    let (root, data) = (room.layer("root"), room.layer("data"));
    let outside = room.folder("outside");
    fs::create_dir_all(room.path("root/in")).unwrap();
    symlink(&outside, room.path("root/absolute")).unwrap();
    symlink("../../../../..", room.path("root/up")).unwrap();
    symlink("/in", room.path("root/good")).unwrap();
    let target = room.folder("target");
    let mount = |place: &str| mount_all(&[inside(&root, "", false), inside(&data, place, true)], &target);
    for place in ["absolute", "../outside/../../missing", "up/missing"] {
        let error = mount(place).unwrap_err();
        assert!(
            matches!(
                error,
                MountError::Target {
                    errno: Errno::NOENT,
                    ..
                }
            ),
            "{place}: {error}"
        );
        assert_eq!(room.mounted(), [], "{place}");
    }
    mount("up/up/good").unwrap();
    assert_eq!(names(&target.join("in")), ["data"]);
    assert_eq!(names(&outside), [] as [&str; 0]);
    assert_eq!(unmount_recursive(&target, UnmountFlags::empty()).unwrap(), 2);
}

#[test]
fn a_file_is_mounted_on_a_file() {
    let Some(room) = Room::new() else { return };
    let root = room.layer("root");
    fs::write(room.path("hosts"), "127.0.0.1").unwrap();
    let target = room.folder("target");
    let hosts = room.path("hosts");
    let mounts = [
        inside(&root, "", false),
        inside(hosts.to_str().unwrap(), "root", true),
    ];
    mount_all(&mounts, &target).unwrap();
    assert_eq!(fs::read_to_string(target.join("root")).unwrap(), "127.0.0.1");
    fs::write(target.join("root"), "").unwrap_err();
    assert_eq!(fs::read_to_string(Path::new(&root).join("root")).unwrap(), "root");
}
