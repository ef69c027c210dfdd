//! Temporary mounts: what stays when something fails.

use std::sync::Arc;

use crate::mount::{Mount, MountError, TempMounts};
use crate::{Errno, Linux, Op, Recorded};

struct Stage {
    sys: Arc<Recorded<Linux>>,
    _folder: tempfile::TempDir,
    temporary: TempMounts<Recorded<Linux>>,
}

impl Stage {
    fn new() -> Self {
        let sys = Arc::new(Recorded::new(Linux));
        sys.pretend_mounts();
        let folder = tempfile::tempdir().unwrap();
        let temporary = TempMounts::with(Arc::clone(&sys), &folder.path().join("tmpmounts")).unwrap();
        Stage {
            sys,
            _folder: folder,
            temporary,
        }
    }

    fn folders(&self) -> usize {
        std::fs::read_dir(self.temporary.folder()).unwrap().count()
    }

    fn mounts(&self) -> usize {
        self.sys.pretended_mounts().len()
    }
}

fn two() -> [Mount; 2] {
    let overlay = Mount::overlay(
        &["/l"],
        Some(("/u", "/w")),
        &["volatile", "fsync=volatile", "index=off"],
    );
    [Mount::bind("/source", false), overlay]
}

#[test]
fn what_is_lost_in_a_crash_is_not_asked_for() {
    let stage = Stage::new();
    let mounted = stage.temporary.mount(&two()).unwrap();
    assert_eq!(stage.mounts(), 2);
    let calls = stage.sys.calls();
    let call = calls.iter().rfind(|call| call.op == Op::Mount).unwrap();
    let data = String::from_utf8_lossy(&call.name).into_owned();
    assert!(
        data.ends_with(" index=off,workdir=/w,upperdir=/u,lowerdir=/l"),
        "{data}"
    );
    mounted.unmount().unwrap();
    assert_eq!((stage.mounts(), stage.folders()), (0, 0));
}

#[test]
fn whichever_call_of_mounting_fails_nothing_stays() {
    let counts = {
        let stage = Stage::new();
        stage.sys.forget();
        let _mounted = stage.temporary.mount(&two()).unwrap();
        stage.sys.counts()
    };
    assert!(counts.contains_key(&Op::Mkdirat) && counts[&Op::Mount] == 2);
    for (op, count) in counts {
        for after in 0..count {
            let stage = Stage::new();
            stage.sys.fail_once(op, after, Errno::NOSPC);
            stage.temporary.mount(&two()).unwrap_err();
            assert_eq!((stage.mounts(), stage.folders()), (0, 0), "{op:?} {after}");
            assert_eq!(stage.temporary.clean().unwrap().len(), 0);
        }
    }
}

#[test]
fn what_cannot_be_unmounted_stays_with_its_folder_until_it_is_cleaned() {
    let stage = Stage::new();
    let mounted = stage.temporary.mount(&two()).unwrap();
    stage.sys.fail_once(Op::Unmount, 0, Errno::PERM);
    let error = mounted.unmount().unwrap_err();
    assert!(matches!(error, MountError::Unmount { .. }), "{error}");
    assert_eq!((stage.mounts(), stage.folders()), (2, 1));
    assert!(
        !stage.sys.counts().contains_key(&Op::Rmdirat),
        "something is mounted there"
    );
    assert_eq!(stage.temporary.clean().unwrap().len(), 0);
    assert_eq!((stage.mounts(), stage.folders()), (0, 0));
}

#[test]
fn cleaning_reports_what_it_must_leave_and_goes_on() {
    let stage = Stage::new();
    for _ in 0..3 {
        std::mem::forget(stage.temporary.mount(&two()).unwrap());
    }
    // Another process finds them: in this one they count as in use.
    assert_eq!(stage.temporary.clean().unwrap().len(), 0);
    assert_eq!(stage.folders(), 3);
    let next = TempMounts::with(Arc::clone(&stage.sys), stage.temporary.folder()).unwrap();
    stage.sys.fail_once(Op::Unmount, 2, Errno::PERM);
    let kept = next.clean().unwrap();
    assert_eq!(kept.len(), 1);
    assert!(
        matches!(
            kept[0],
            MountError::Unmount {
                errno: Errno::PERM,
                ..
            }
        ),
        "{}",
        kept[0]
    );
    assert_eq!(stage.folders(), 1);
    stage.sys.fail_once(Op::Rmdirat, 0, Errno::BUSY);
    let kept = next.clean().unwrap();
    assert!(matches!(
        kept[..],
        [MountError::Folder {
            errno: Errno::BUSY,
            ..
        }]
    ));
    assert_eq!((stage.mounts(), stage.folders()), (0, 1));
    assert_eq!(next.clean().unwrap().len(), 0);
    assert_eq!(stage.folders(), 0);
}

#[test]
fn a_mount_below_that_nobody_knew_of_comes_off_too() {
    let stage = Stage::new();
    let mounted = stage.temporary.mount(&two()).unwrap();
    let below = mounted.path().join("below");
    std::fs::create_dir(&below).unwrap();
    crate::mount::on(&*stage.sys, &[Mount::bind("/x", false)], &below).unwrap();
    std::fs::remove_dir(&below).unwrap();
    stage.sys.fail_once(Op::Unmount, 0, Errno::BUSY);
    mounted.unmount().unwrap();
    assert_eq!((stage.mounts(), stage.folders()), (0, 0));
}
