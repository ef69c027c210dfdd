//! Unmounting: patience, FUSE's programs, and the order.

use super::{Stage, inside};
use crate::mount::calls::Ended;
use crate::mount::limits::UNMOUNT_TRIES;
use crate::mount::unmount::{unmount, unmount_all, unmount_recursive};
use crate::mount::{Mount, MountError, UnmountFlags};
use crate::{Errno, Op};

const FUSE: u64 = 0x6573_5546;
const ALL: [Op; 3] = [Op::Unmount, Op::Run, Op::Pause];

fn mounted() -> Stage {
    let stage = Stage::new();
    stage.mount(&[Mount::bind("/source", false)]).unwrap();
    stage
}

#[test]
fn a_busy_mount_is_tried_for_a_while() {
    let stage = mounted();
    for after in 0..3 {
        stage.sys.fail_once(Op::Unmount, after, Errno::BUSY);
    }
    assert_eq!(
        unmount_all(&stage.sys, stage.root(), UnmountFlags::empty()).unwrap(),
        1
    );
    assert_eq!(
        stage.calls(&ALL),
        [
            "Unmount /ROOT 0x0",
            "Pause 50ms",
            "Unmount /ROOT 0x0",
            "Pause 50ms",
            "Unmount /ROOT 0x0",
            "Pause 50ms",
            "Unmount /ROOT 0x0",
            "Unmount /ROOT 0x0"
        ]
    );
}

#[test]
fn a_mount_that_stays_busy_is_an_error() {
    let stage = mounted();
    stage.sys.fail_from(Op::Unmount, 0, Errno::BUSY);
    let error = unmount(&stage.sys, stage.root(), UnmountFlags::empty()).unwrap_err();
    assert!(matches!(error, MountError::Busy { .. }), "{error}");
    assert_eq!(stage.sys.counts()[&Op::Unmount], 50);
    assert_eq!(stage.sys.counts()[&Op::Pause], 49);
}

#[test]
fn other_refusals_are_not_tried_again() {
    let stage = mounted();
    stage.sys.fail_from(Op::Unmount, 0, Errno::PERM);
    let error = unmount_all(&stage.sys, stage.root(), UnmountFlags::empty()).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::PERM));
    assert_eq!(stage.sys.counts()[&Op::Unmount], 1);
}

#[test]
fn fuse_unmounts_by_its_own_programs() {
    let stage = mounted();
    stage.sys.pretend_statfs(FUSE, 0);
    unmount(&stage.sys, stage.root(), UnmountFlags::empty()).unwrap();
    assert_eq!(stage.calls(&ALL), ["Run fusermount3 -u /ROOT"]);
    assert_eq!(stage.sys.pretended_mounts(), [] as [&str; 0]);
}

#[test]
fn without_those_programs_fuse_is_unmounted_like_any() {
    let dead_server = |stage: &Stage| stage.sys.fail_from(Op::Statfs, 0, Errno::NOTCONN);
    let no_program = |stage: &Stage| stage.sys.fail_from(Op::Run, 0, Errno::NOENT);
    let failing = |stage: &Stage| stage.sys.pretend_ended(Ended::default());
    for missing in [true, false] {
        let stage = mounted();
        stage.sys.pretend_statfs(FUSE, 0);
        dead_server(&stage);
        if missing {
            no_program(&stage);
        } else {
            failing(&stage);
        }
        unmount(&stage.sys, stage.root(), UnmountFlags::empty()).unwrap();
        assert_eq!(
            stage.calls(&ALL),
            [
                "Run fusermount3 -u /ROOT",
                "Run fusermount -u /ROOT",
                "Unmount /ROOT 0x0"
            ]
        );
    }
}

#[test]
fn the_deepest_comes_off_first() {
    let stage = Stage::new();
    stage.make("a/b/c");
    stage.make("ab");
    let beside = stage.make("other");
    let mounts = ["", "a", "a", "a/b/c", "ab"].map(|name| inside(name, Mount::bind("/source", false)));
    stage.mount(&mounts).unwrap();
    assert_eq!(
        unmount_recursive(&stage.sys, &beside, UnmountFlags::empty(), UNMOUNT_TRIES).unwrap(),
        0
    );
    let a = stage.root().join("a");
    assert_eq!(
        unmount_recursive(&stage.sys, &a, UnmountFlags::empty(), UNMOUNT_TRIES).unwrap(),
        3
    );
    assert_eq!(
        unmount_recursive(&stage.sys, stage.root(), UnmountFlags::empty(), UNMOUNT_TRIES).unwrap(),
        2
    );
    assert_eq!(
        stage.calls(&ALL),
        [
            "Unmount /ROOT/a/b/c 0x0",
            "Unmount /ROOT/a 0x0",
            "Unmount /ROOT/a 0x0",
            "Unmount /ROOT/ab 0x0",
            "Unmount /ROOT 0x0"
        ]
    );
}
