//! The real calls, the recording fake over them, and the thread's own umask.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::time::Duration;

use transom_sys::linux::is_user_namespace;
use transom_sys::{
    Call, Errno, FileType, Linux, OFlags, Op, PrivateUmask, Recorded, ResolveFlags, Sys, clock,
};

#[test]
fn the_first_user_namespace_maps_everything_onto_itself() {
    assert!(!is_user_namespace("         0          0 4294967295\n"));
    assert!(!is_user_namespace(""));
    assert!(is_user_namespace("         0       1000          1\n"));
    assert!(is_user_namespace("0 0 65536\n"));
    assert!(is_user_namespace("0 1000 1\n1 100000 65536\n"));
}

#[test]
fn the_fake_notes_and_fails_calls() {
    let folder = tempfile::tempdir().unwrap();
    let dir = File::open(folder.path()).unwrap();
    let sys = Recorded::new(Linux);
    sys.fail_once(Op::Mkdirat, 1, Errno::NOSPC);
    sys.fail_from(Op::Symlinkat, 1, Errno::PERM);
    assert_eq!(sys.mkdirat(dir.as_fd(), b"a", 0o755), Ok(()));
    assert_eq!(sys.mkdirat(dir.as_fd(), b"b", 0o755), Err(Errno::NOSPC));
    assert_eq!(sys.mkdirat(dir.as_fd(), b"c", 0o755), Ok(()));
    assert_eq!(sys.symlinkat(b"t", dir.as_fd(), b"d"), Ok(()));
    assert_eq!(sys.symlinkat(b"t", dir.as_fd(), b"e"), Err(Errno::PERM));
    assert_eq!(sys.symlinkat(b"t", dir.as_fd(), b"f"), Err(Errno::PERM));
    assert!(!folder.path().join("b").exists());
    assert_eq!(sys.counts()[&Op::Mkdirat], 3);
    let failed = Call {
        op: Op::Mkdirat,
        name: b"b".to_vec(),
        error: Some(Errno::NOSPC),
    };
    assert_eq!(sys.calls()[1], failed);
    sys.forget();
    assert_eq!(sys.calls(), []);
    sys.pretend_user_namespace(true);
    sys.pretend_ids(1, 2);
    assert!(sys.in_user_namespace());
    assert_eq!(sys.effective_ids(), (1, 2));
}

#[test]
fn a_folder_is_listed_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..3000 {
        fs::write(
            folder
                .path()
                .join(format!("a rather long name for a file {index}")),
            "",
        )
        .unwrap();
    }
    symlink("x", folder.path().join("link")).unwrap();
    let dir = File::open(folder.path()).unwrap();
    let (mut batch, mut names, mut calls) = (Vec::new(), Vec::new(), 0);
    while Linux.getdents(dir.as_fd(), &mut batch).unwrap() {
        calls += 1;
        names.append(&mut batch);
    }
    assert_eq!(names.len(), 3001);
    assert!(calls > 1, "one call cannot hold them all");
    assert!(
        names
            .iter()
            .any(|entry| entry.name == b"link" && entry.kind != FileType::Directory)
    );
}

#[test]
fn openat2_stays_in_its_root() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("root/etc")).unwrap();
    symlink("/etc", folder.path().join("root/link")).unwrap();
    let root = File::open(folder.path().join("root")).unwrap();
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = match Linux.openat2(root.as_fd(), b"../../link", OFlags::PATH, 0, resolve) {
        Err(Errno::NOSYS | Errno::PERM) => return skip(),
        other => other.unwrap(),
    };
    let expected = fs::metadata(folder.path().join("root/etc")).unwrap();
    assert_eq!(Linux.fstat(found.as_fd()).unwrap().st_ino, expected.ino());
}

/// This crate is below the one that the other tests share.
fn skip() {
    println!("SKIP: openat2 is not to be had here");
}

#[test]
fn the_umask_is_the_threads_own() {
    let folder = tempfile::tempdir().unwrap();
    let dir = File::open(folder.path()).unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().mode() & 0o777;
    Linux.mkdirat(dir.as_fd(), b"before", 0o777).unwrap();
    let elsewhere = std::thread::scope(|scope| {
        let (start, started) = std::sync::mpsc::channel::<()>();
        let other = scope.spawn({
            let dir = &dir;
            move || {
                started.recv().unwrap();
                Linux.mkdirat(dir.as_fd(), b"elsewhere", 0o777).unwrap();
            }
        });
        let Ok(umask) = PrivateUmask::clear() else {
            drop(start);
            let _ = other.join();
            return false;
        };
        start.send(()).unwrap();
        other.join().unwrap();
        Linux.mkdirat(dir.as_fd(), b"within", 0o777).unwrap();
        drop(umask);
        true
    });
    if !elsewhere {
        println!("SKIP: unshare is forbidden here");
        return;
    }
    Linux.mkdirat(dir.as_fd(), b"after", 0o777).unwrap();
    assert_eq!(mode("within"), 0o777);
    assert_eq!(mode("elsewhere"), mode("before"));
    assert_eq!(mode("after"), mode("before"));
}

#[test]
fn cpu_time_is_counted() {
    let (thread, process) = (clock::thread_cpu(), clock::process_cpu());
    let mut sum = 0_u64;
    while clock::thread_cpu() - thread < Duration::from_millis(5) {
        sum = std::hint::black_box(sum.wrapping_add(1));
    }
    assert!(clock::process_cpu() > process);
}
