//! Loop devices: the calls, the older ones, and lost races.

use super::{Stage, described};
use crate::mount::limits::LOOP_TRIES;
use crate::{Errno, Op};

const ALL: [Op; 9] = [
    Op::LoopFree,
    Op::LoopOpen,
    Op::LoopConfigure,
    Op::LoopSetFile,
    Op::LoopSetStatus,
    Op::LoopSetDirectIo,
    Op::LoopClear,
    Op::Mount,
    Op::Pause,
];

fn image(stage: &Stage) -> String {
    let path = stage.root().join("image");
    std::fs::write(&path, "x").unwrap();
    std::fs::canonicalize(path).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_file_is_mounted_through_a_device() {
    let stage = Stage::new();
    let image = image(&stage);
    stage
        .mount(&[described("ext4", &image, &["loop", "ro", "direct-io", "a=b"])])
        .unwrap();
    assert_eq!(
        stage.calls(&ALL),
        [
            "LoopFree ",
            "LoopOpen 7 ro",
            "LoopConfigure /ROOT/image LoopOptions { read_only: true, direct_io: true }",
            "Mount /dev/loop7 /ROOT ext4 0x1 a=b"
        ]
    );
}

#[test]
fn direct_io_without_a_device_is_for_the_file_system() {
    let stage = Stage::new();
    stage.mount(&[described("x", "y", &["direct-io"])]).unwrap();
    assert_eq!(stage.calls(&ALL), ["Mount y /ROOT x 0x0 direct-io"]);
}

#[test]
fn an_older_kernel_is_asked_in_steps() {
    let stage = Stage::new();
    let image = image(&stage);
    stage.sys.fail_from(Op::LoopConfigure, 0, Errno::NOTTY);
    stage
        .mount(&[described("ext4", &image, &["loop", "direct-io"])])
        .unwrap();
    assert_eq!(
        stage.calls(&ALL)[3..],
        [
            "LoopSetFile ",
            "LoopSetStatus /ROOT/image",
            "LoopSetDirectIo ",
            "Mount /dev/loop7 /ROOT ext4 0x0 "
        ]
    );
}

#[test]
fn a_step_that_fails_takes_the_file_out_again() {
    for op in [Op::LoopSetStatus, Op::LoopSetDirectIo] {
        let stage = Stage::new();
        let image = image(&stage);
        stage.sys.fail_from(Op::LoopConfigure, 0, Errno::INVAL);
        stage.sys.fail_from(op, 0, Errno::IO);
        let error = stage
            .mount(&[described("ext4", &image, &["loop", "direct-io"])])
            .unwrap_err();
        assert_eq!(error.errno(), Some(Errno::IO));
        assert_eq!(stage.calls(&ALL).pop().unwrap(), "LoopClear ");
    }
}

#[test]
fn a_lost_race_for_a_device_is_run_again() {
    let stage = Stage::new();
    let image = image(&stage);
    stage.sys.fail_once(Op::LoopConfigure, 0, Errno::BUSY);
    stage.sys.fail_once(Op::LoopConfigure, 1, Errno::INVAL);
    stage.sys.fail_once(Op::LoopSetFile, 0, Errno::BUSY);
    stage.mount(&[described("ext4", &image, &["loop"])]).unwrap();
    assert_eq!(stage.sys.counts()[&Op::Pause], 2);
    assert_eq!(stage.sys.counts()[&Op::LoopFree], 3);

    stage.sys.forget();
    stage.sys.fail_from(Op::LoopOpen, 0, Errno::BUSY);
    let error = stage.mount(&[described("ext4", &image, &["loop"])]).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::BUSY));
    assert_eq!(stage.sys.counts()[&Op::LoopFree], LOOP_TRIES as usize);
}
