//! Overlays: which way is taken to mount them.

use super::{Stage, described};
use crate::mount::{Mount, MountError};
use crate::{Errno, Op};

const ALL: [Op; 6] = [
    Op::Mount,
    Op::Fsopen,
    Op::Fsconfig,
    Op::Fsmount,
    Op::MoveMount,
    Op::FsMessages,
];

/// An overlay of this many lower folders, which exist, with names of this many bytes.
fn overlay(stage: &Stage, count: usize, width: usize) -> Mount {
    let folders: Vec<String> = (0..count)
        .map(|number| stage.make(&format!("layers/{number:0width$}")))
        .map(|path| std::fs::canonicalize(path).unwrap().to_str().unwrap().to_owned())
        .collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    Mount::overlay(
        &folders,
        Some(("/u", "/w")),
        &["ro", "nosuid", "sync", "noatime", "index=off", "userxattr"],
    )
}

#[test]
fn what_fits_into_a_page_is_one_call() {
    let stage = Stage::new();
    stage.mount(&[overlay(&stage, 3, 1)]).unwrap();
    assert_eq!(
        stage.calls(&ALL),
        [
            "Mount overlay /ROOT overlay 0x413 index=off,userxattr,workdir=/w,upperdir=/u,\
          lowerdir=/ROOT/layers/0:/ROOT/layers/1:/ROOT/layers/2"
        ]
    );
}

#[test]
fn what_does_not_is_told_folder_by_folder() {
    let stage = Stage::new();
    stage.mount(&[overlay(&stage, 500, 8)]).unwrap();
    let calls = stage.calls(&ALL);
    assert_eq!(calls[0], "Fsopen overlay");
    assert_eq!(calls[1], "Fsconfig lowerdir+=/ROOT/layers/00000000");
    assert_eq!(calls[500], "Fsconfig lowerdir+=/ROOT/layers/00000499");
    assert_eq!(
        calls[501..],
        [
            "Fsconfig source=overlay",
            "Fsconfig index=off",
            "Fsconfig workdir=/w",
            "Fsconfig upperdir=/u",
            "Fsconfig userxattr",
            "Fsconfig ro",
            "Fsconfig sync",
            "Fsconfig create",
            "Fsmount 0x13",
            "MoveMount /ROOT"
        ]
    );
}

#[test]
fn a_kernel_that_cannot_gets_shorter_paths() {
    for (op, errno) in [
        (Op::Fsopen, Errno::NOSYS),
        (Op::Fsopen, Errno::PERM),
        (Op::Fsconfig, Errno::INVAL),
    ] {
        let stage = Stage::new();
        stage.sys.fail_from(op, 0, errno);
        // With the folder's own path before each, this would not fit.
        stage.mount(&[overlay(&stage, 300, 8)]).unwrap();
        let call = stage.calls(&ALL).pop().unwrap();
        let begin = "Mount overlay /ROOT overlay 0x413 index=off,userxattr,workdir=/w,upperdir=/u,lowerdir=00000000:0000";
        assert!(call.starts_with(begin), "{call}");
        assert!(call.ends_with(":00000299 in /ROOT/layers"), "{call}");
        assert_eq!(stage.sys.pretended_mounts().len(), 1);
    }
}

#[test]
fn paths_that_stay_long_are_named_by_descriptors() {
    let stage = Stage::new();
    stage.sys.fail_from(Op::Fsopen, 0, Errno::NOSYS);
    stage.mount(&[overlay(&stage, 300, 20)]).unwrap();
    let call = stage.calls(&ALL).pop().unwrap();
    assert!(call.ends_with("/fd"), "{call}");
    let lower = call.split_once("lowerdir=").unwrap().1.split_once(' ').unwrap().0;
    assert_eq!(lower.split(':').count(), 300);
    assert!(
        lower.split(':').all(|name| name.parse::<u32>().is_ok()),
        "{lower}"
    );
}

#[test]
fn escapes_and_quotes_are_left_to_the_older_call() {
    for extra in ["context=\"a,b\"", "x=a\\,b", "x=a:b"] {
        let stage = Stage::new();
        let mut overlay = overlay(&stage, 300, 8);
        overlay.options.push(extra.to_owned());
        stage.mount(&[overlay]).unwrap();
        let calls = stage.calls(&ALL);
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert!(
            calls[0].ends_with(&format!(",{extra} in /ROOT/layers")),
            "{calls:?}"
        );
    }
}

#[test]
fn a_failure_past_the_first_folder_is_final() {
    let stage = Stage::new();
    stage.sys.fail_once(Op::Fsconfig, 1, Errno::INVAL);
    let error = stage.mount(&[overlay(&stage, 300, 8)]).unwrap_err();
    assert!(error.to_string().contains("00000001"), "{error}");
    assert_eq!(stage.sys.counts().get(&Op::Mount), None);
    let stage = Stage::new();
    stage.sys.fail_once(Op::Fsconfig, 307, Errno::BUSY);
    let error = stage.mount(&[overlay(&stage, 300, 8)]).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::BUSY));
    assert_eq!(stage.sys.pretended_mounts(), [] as [&str; 0]);
}

#[test]
fn more_than_the_kernel_takes_is_refused() {
    let stage = Stage::new();
    let lower = vec!["/l"; 501].join(":");
    let mount = described("overlay", "overlay", &[&format!("lowerdir={lower}")]);
    let error = stage.mount(&[mount]).unwrap_err();
    let MountError::TooMany {
        count: 501,
        most: 500,
        ..
    } = error
    else {
        panic!("{error}");
    };
    // Long for another reason, and nothing that could be cut off.
    let long = format!("x={}", "y".repeat(5000));
    let mount = described("overlay", "overlay", &["lowerdir=/l/1:/l/2", &long]);
    stage.make("l");
    let error = stage.mount(&[mount]).unwrap_err();
    assert!(
        matches!(
            error,
            MountError::Mount { .. } | MountError::OptionsTooLong { .. }
        ),
        "{error}"
    );
    let mount = described("overlay", "overlay", &[&long]);
    assert!(matches!(
        stage.mount(&[mount]).unwrap_err(),
        MountError::OptionsTooLong { .. }
    ));
}
