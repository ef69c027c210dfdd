//! Mount helpers: what they are called with, and what happens when they fail.

use super::{Stage, described};
use crate::mount::MountError;
use crate::mount::calls::Ended;
use crate::{Errno, Op};

#[test]
fn the_helper_gets_each_option_and_the_type() {
    let stage = Stage::new();
    let options = ["lowerdir=/a:/b", "ro", "x=$(y) 'z'"];
    for (kind, program) in [
        ("fuse3.fuse-overlayfs", "mount.fuse3"),
        ("fuse.sshfs", "mount.fuse"),
    ] {
        stage.mount(&[described(kind, "overlay", &options)]).unwrap();
        let name = kind.split_once('.').unwrap().1;
        assert_eq!(
            stage.calls(&[Op::Run, Op::Mount]).pop().unwrap(),
            format!("Run {program} overlay /ROOT -o lowerdir=/a:/b -o ro -o x=$(y) 'z' -t {name}")
        );
    }
}

#[test]
fn a_lost_end_is_tried_again_after_unmounting() {
    let stage = Stage::new();
    stage.sys.fail_once(Op::Run, 0, Errno::CHILD);
    stage.sys.fail_once(Op::Run, 1, Errno::CHILD);
    stage.mount(&[described("fuse.x", "y", &[])]).unwrap();
    assert_eq!(stage.sys.counts()[&Op::Run], 3);
    assert_eq!(stage.sys.pretended_mounts().len(), 1);

    let stage = Stage::new();
    stage.sys.fail_from(Op::Run, 0, Errno::CHILD);
    let error = stage.mount(&[described("fuse.x", "y", &[])]).unwrap_err();
    assert_eq!(stage.sys.counts()[&Op::Run], 10);
    assert!(error.to_string().contains("lost 10 times"), "{error}");
}

#[test]
fn a_helper_that_fails_or_is_missing_is_named() {
    let stage = Stage::new();
    stage.sys.pretend_ended(Ended {
        success: false,
        output: "no such thing".to_owned(),
    });
    let error = stage.mount(&[described("fuse.x", "y", &[])]).unwrap_err();
    assert!(error.to_string().ends_with("failed: no such thing"), "{error}");
    let stage = Stage::new();
    stage.sys.fail_from(Op::Run, 0, Errno::NOENT);
    let error = stage.mount(&[described("fuse3.x", "y", &[])]).unwrap_err();
    assert!(
        matches!(
            error,
            MountError::Helper {
                program: "mount.fuse3",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(stage.sys.counts()[&Op::Run], 1);
}

#[test]
fn nothing_but_a_name_is_a_type() {
    for kind in [
        "fuse.",
        "fuse./bin/sh",
        "fuse.-o",
        "fuse.a b",
        "fuse.a;b",
        "fuse.a'b",
        "fuse3...",
        "fuse.ä",
    ] {
        let stage = Stage::new();
        let error = stage.mount(&[described(kind, "y", &[])]).unwrap_err();
        assert!(
            matches!(error, MountError::BadText { what: "type", .. }),
            "{error}"
        );
        assert!(!stage.sys.counts().contains_key(&Op::Run));
    }
    let error = Stage::new().mount(&[described("fuse.x", "-o", &[])]).unwrap_err();
    assert!(
        matches!(error, MountError::BadText { what: "source", .. }),
        "{error}"
    );
}
