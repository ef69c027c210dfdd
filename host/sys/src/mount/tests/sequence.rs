//! One mount: its calls, in order, and what is refused before any.

use super::{Stage, described, inside};
use crate::mount::limits::{OPTION_BYTES_MAX, OPTIONS_MAX};
use crate::mount::{Mount, MountError};
use crate::{Errno, Op};

const ALL: [Op; 4] = [Op::Mount, Op::Propagate, Op::Statfs, Op::Unmount];

#[test]
fn a_plain_mount_is_one_call() {
    let stage = Stage::new();
    stage
        .mount(&[described(
            "ext4",
            "/dev/sda",
            &["ro", "noatime", "errors=panic", "user_xattr"],
        )])
        .unwrap();
    assert_eq!(
        stage.calls(&ALL),
        ["Mount /dev/sda /ROOT ext4 0x401 errors=panic,user_xattr"]
    );
}

#[test]
fn a_bind_mount_is_remounted_to_be_read_only() {
    let stage = Stage::new();
    stage.mount(&[Mount::bind("/source", true)]).unwrap();
    assert_eq!(
        stage.calls(&ALL),
        [
            "Mount /source /ROOT bind 0x5001 ",
            "Statfs /ROOT",
            "Mount  /ROOT  0x5021 "
        ]
    );
    let stage = Stage::new();
    stage.mount(&[Mount::bind("/source", false)]).unwrap();
    assert_eq!(stage.calls(&ALL), ["Mount /source /ROOT bind 0x5000 "]);
}

#[test]
fn propagation_is_changed_between_the_two() {
    let stage = Stage::new();
    stage
        .mount(&[described("bind", "/source", &["rshared", "bind", "ro", "slave"])])
        .unwrap();
    assert_eq!(
        stage.calls(&ALL),
        [
            "Mount /source /ROOT bind 0x1001 ",
            "Propagate /ROOT 0x10c000",
            "Propagate /ROOT 0x88000",
            "Statfs /ROOT",
            "Mount  /ROOT  0x1021 "
        ]
    );
}

#[test]
fn a_user_namespace_keeps_every_flag_that_may_be_locked() {
    // nosuid, nodev, noexec, nodiratime and relatime, by the numbers of statvfs.
    let shown = 2 | 4 | 8 | 2048 | 4096;
    let remount = |user_namespace, options: &[&str]| {
        let stage = Stage::new();
        stage.sys.pretend_statfs(0, shown);
        stage.sys.pretend_user_namespace(user_namespace);
        stage.mount(&[described("bind", "/source", options)]).unwrap();
        stage.calls(&[Op::Mount]).pop().unwrap()
    };
    assert_eq!(remount(true, &["bind", "ro", "dev"]), "Mount  /ROOT  0x20182f ");
    assert_eq!(remount(false, &["bind", "ro", "dev"]), "Mount  /ROOT  0x102b ");
}

#[test]
fn a_remount_does_not_mount_again() {
    let stage = Stage::new();
    let remounts = [
        described("bind", "/source", &["remount", "bind", "ro"]),
        described("ext4", "", &["remount", "ro"]),
        described("ext4", "", &["remount", "errors=panic"]),
    ];
    for remount in remounts {
        stage.mount(&[remount]).unwrap();
    }
    assert_eq!(
        stage.calls(&[Op::Mount]),
        [
            "Mount  /ROOT  0x1021 ",
            "Mount  /ROOT ext4 0x21 ",
            "Mount  /ROOT ext4 0x20 errors=panic"
        ]
    );
}

#[test]
fn what_cannot_be_meant_is_refused_before_any_call() {
    let many = vec!["ro"; OPTIONS_MAX + 1];
    let long = "x".repeat(OPTION_BYTES_MAX + 1);
    let bad = [
        described("bind", "/a\0b", &[]),
        described("bi\0nd", "/a", &[]),
        described("bind", "/a", &["r\0o"]),
        inside("a\0b", described("bind", "/a", &[])),
        described("ext4", "/a", &["X-containerd.mkfs.size=1"]),
        described("fuse.x", "/a", &["X-containerd.mkfs.size=1"]),
        described("ext4", "/a", &many),
        described("overlay", "/a", &[&long]),
        described("bind", "/a", &["uidmap=0:0", "gidmap=0:0:1"]),
        described("overlay", "/a", &["uidmap=0:0:1", "gidmap=0:0:1"]),
    ];
    for mount in bad {
        let stage = Stage::new();
        let error = stage.mount(std::slice::from_ref(&mount)).unwrap_err();
        assert!(error.is_bad_request(), "{mount:?}: {error}");
        let calls = stage.sys.calls();
        assert!(calls.iter().all(|call| call.op < Op::Mount), "{calls:?}");
    }
    let stage = Stage::new();
    let error = stage
        .mount(&[described("ext4", "/a", &["X-containerd.x"])])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "internal mount option \"X-containerd.x\" was not consumed by the mount manager"
    );
}

#[test]
fn data_has_one_page_with_its_nul() {
    let page = rustix::param::page_size();
    let stage = Stage::new();
    let fits = "x".repeat(page - 1);
    stage.mount(&[described("ext4", "/a", &[&fits])]).unwrap();
    let error = stage
        .mount(&[described("ext4", "/a", &[&fits, "y"])])
        .unwrap_err();
    let MountError::OptionsTooLong { bytes, most } = error else {
        panic!("{error}");
    };
    assert_eq!((bytes, most), (page + 1, page - 1));
    assert!(error.to_string().starts_with("mount options is too long"));
}

#[test]
fn a_later_step_that_fails_takes_the_mount_away_again() {
    for op in [Op::Propagate, Op::Statfs] {
        let stage = Stage::new();
        stage.sys.fail_once(op, 0, Errno::PERM);
        let error = stage
            .mount(&[described("bind", "/source", &["bind", "ro", "private"])])
            .unwrap_err();
        assert_eq!(error.errno(), Some(Errno::PERM));
        assert_eq!(stage.sys.pretended_mounts(), [] as [&str; 0]);
    }
    let stage = Stage::new();
    stage.sys.fail_once(Op::Mount, 1, Errno::PERM);
    stage.mount(&[Mount::bind("/source", true)]).unwrap_err();
    assert_eq!(stage.sys.pretended_mounts(), [] as [&str; 0]);
}

#[test]
fn a_remount_that_fails_takes_nothing_away() {
    let stage = Stage::new();
    stage.mount(&[Mount::bind("/source", false)]).unwrap();
    stage.sys.fail_once(Op::Mount, 0, Errno::BUSY);
    stage
        .mount(&[described("bind", "", &["remount", "bind", "ro"])])
        .unwrap_err();
    assert_eq!(stage.sys.pretended_mounts().len(), 1);
}
