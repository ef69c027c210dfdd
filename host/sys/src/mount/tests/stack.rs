//! Several mounts: all or none, whatever fails.

use std::collections::BTreeMap;

use super::{Stage, described, inside};
use crate::mount::limits::MOUNTS_MAX;
use crate::mount::{Mount, MountError};
use crate::{Errno, Op};

/// Mounts of every kind that needs more than one call.
fn mounts() -> Vec<Mount> {
    let maps = ["uidmap=0:1000:10", "gidmap=0:1000:10"];
    vec![
        described("bind", "/source", &["rbind", "ro", "private"]),
        inside("a", Mount::overlay(&["/l/2", "/l/1"], Some(("/u", "/w")), &[])),
        inside("b", Mount::overlay(&["/l/2", "/l/1"], None, &maps)),
        inside(
            "c",
            described("bind", "/source", &["bind", "ro", maps[0], maps[1]]),
        ),
        inside("d", described("ext4", "/dev/null", &["loop", "direct-io"])),
    ]
}

fn stage() -> Stage {
    let stage = Stage::new();
    for name in ["a", "b", "c", "d"] {
        stage.make(name);
    }
    stage
}

#[test]
fn all_are_mounted_in_order() {
    let stage = stage();
    stage.mount(&mounts()).unwrap();
    let root = stage.root().to_str().unwrap();
    let expected = ["", "/a", "/b", "/c", "/d"].map(|name| format!("{root}{name}"));
    assert_eq!(stage.sys.pretended_mounts(), expected);
}

#[test]
fn whichever_call_fails_nothing_stays_mounted() {
    let stage = stage();
    stage.mount(&mounts()).unwrap();
    let counts: BTreeMap<Op, usize> = stage.sys.counts();
    let mut failed = 0;
    for (op, count) in counts {
        if op == Op::Close {
            continue;
        }
        for after in 0..count {
            let stage = self::stage();
            stage.sys.fail_once(op, after, Errno::NOMEM);
            let result = stage.mount(&mounts());
            // Something that has another way, or is only asked whether it is FUSE, may go well.
            if result.is_err() {
                failed += 1;
                assert_eq!(stage.sys.pretended_mounts(), [] as [&str; 0], "{op:?} {after}");
            } else {
                assert_eq!(stage.sys.pretended_mounts().len(), 5, "{op:?} {after}");
            }
        }
    }
    assert!(failed > 30, "{failed}");
}

#[test]
fn the_last_is_undone_first_and_detached_if_it_is_busy() {
    let stage = stage();
    stage.sys.fail_once(Op::Mount, 2, Errno::NODEV);
    stage.sys.fail_once(Op::Unmount, 0, Errno::BUSY);
    let mounts = [
        Mount::bind("/one", false),
        inside("a", Mount::bind("/two", false)),
        inside("b", described("no-such-type", "x", &[])),
    ];
    let error = stage.mount(&mounts).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NODEV));
    assert_eq!(
        stage.calls(&[Op::Unmount, Op::Pause]),
        ["Unmount /ROOT/a 0x8", "Unmount /ROOT/a 0xa", "Unmount /ROOT 0x8"]
    );
}

#[test]
fn too_many_are_refused() {
    let stage = Stage::new();
    let error = stage
        .mount(&vec![Mount::bind("/one", false); MOUNTS_MAX + 1])
        .unwrap_err();
    assert!(matches!(error, MountError::TooMany { .. }), "{error}");
    assert_eq!(stage.sys.calls(), []);
}
