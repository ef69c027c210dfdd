//! The files of the stores that persist: whose they are, and what happens when they are damaged or the disk is full.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use transom_meta::kv::{self, Durability, Kind, Kv, KvError, Outcome, Transaction, Write};

use crate::kv::{commit, delete, everything, is, open, put, run};
use crate::kv_workload::Dice;

const PERSISTENT: [Kind; 2] = [Kind::Sled, Kind::Redb];

#[test]
fn kinds_have_names() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse::<Kind>(), Ok(kind));
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(kind, dir.path()).name(), kind.name());
    }
    let unknown = "bolt".parse::<Kind>().unwrap_err();
    assert!(unknown.to_string().contains("redb, sled or memory"), "{unknown}");
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    for kind in PERSISTENT {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("made/on/the/way");
        for round in 0..20 {
            let kv = open(kind, &folder);
            let key = round.to_string();
            run(async {
                assert_eq!(everything(&*kv).await.len(), round);
                assert_eq!(
                    commit(&*kv, [is(&key, None)], [put(&key, "x")]).await,
                    Outcome::Committed
                );
            });
        }
    }
}

#[test]
fn the_second_to_open_it_learns_who_has_it() {
    for kind in PERSISTENT {
        let dir = tempfile::tempdir().unwrap();
        let first = open(kind, dir.path());
        let error = kv::open(kind, dir.path()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, KvError::InUse { .. }), "{text}");
        assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
        assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
        drop(first);
        open(kind, dir.path());
    }
}

#[test]
fn another_kind_is_not_opened_beside_it() {
    for (kind, other) in [(Kind::Sled, Kind::Redb), (Kind::Redb, Kind::Sled)] {
        let dir = tempfile::tempdir().unwrap();
        drop(open(kind, dir.path()));
        let error = kv::open(other, dir.path()).unwrap_err();
        assert!(
            matches!(&error, KvError::OtherKind { found, wanted, .. } if (*found, *wanted) == (kind, other)),
            "{error}"
        );
        open(kind, dir.path());
    }
}

/// The file with the records.
fn main_file(kind: Kind, folder: &Path) -> PathBuf {
    match kind {
        Kind::Sled => folder.join("sled/db"),
        _ => folder.join("redb"),
    }
}

fn filled(kind: Kind) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let kv = open(kind, dir.path());
    run(async {
        for n in 0..30 {
            let writes = (0..100).map(|m| put(format!("{m}/{n}"), [7; 200]));
            commit(&*kv, [], writes.collect::<Vec<_>>()).await;
        }
    });
    dir
}

/// Opens it and reads all of it.
fn read(kind: Kind, folder: &Path) -> Result<usize, KvError> {
    let kv = kv::open(kind, folder)?;
    let everything = kv::Range::prefix("");
    run(kv.range(&everything, 10_000)).map(|pairs| pairs.len())
}

#[test]
fn files_that_are_something_else_are_called_damaged() {
    for kind in PERSISTENT {
        for length in [100, 4096, 700_000] {
            let dir = filled(kind);
            let mut dice = Dice(9);
            let noise: Vec<u8> = (0..length).map(|_| dice.roll(256) as u8).collect();
            std::fs::write(main_file(kind, dir.path()), noise).unwrap();
            let error = read(kind, dir.path()).unwrap_err();
            let text = error.to_string();
            assert!(
                matches!(error, KvError::Damaged { .. }),
                "{kind}, {length} bytes: {text}"
            );
            assert!(text.contains(kind.name()), "{text}");
        }
    }
}

/// Any damage: the answer may be an error, and never a panic.
#[test]
fn no_damage_is_a_panic() {
    let mut dice = Dice(0xdead);
    for kind in PERSISTENT {
        for _ in 0..12 {
            let dir = filled(kind);
            let path = main_file(kind, dir.path());
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            let length = file.metadata().unwrap().len();
            match dice.roll(3) {
                0 => file.set_len(dice.roll(length)).unwrap(),
                1 => file.write_all_at(&[0; 8192], dice.roll(length)).unwrap(),
                _ => {
                    for _ in 0..50 {
                        let noise = [dice.roll(256) as u8];
                        file.write_all_at(&noise, dice.roll(length)).unwrap();
                    }
                }
            }
            drop(file);
            let _ = read(kind, dir.path());
        }
    }
}

/// A small file system in memory, gone when this is dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Option<Small> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Small(dir));
        }
        transom_tests::skip("mounting a small tmpfs needs root");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

async fn try_commit(kv: &dyn Kv, writes: Vec<Write>) -> Result<Outcome, KvError> {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes,
        durability: Durability::Durable,
    };
    kv.commit(transaction).await
}

/// The store keeps away from the end of the disk, and what is needed to make room still goes.
#[test]
fn a_full_disk_takes_deletions_only() {
    for kind in PERSISTENT {
        let Some(disk) = Small::mount("64m") else {
            return;
        };
        let kv = open(kind, &disk.0.path().join("meta"));
        run(async {
            commit(&*kv, [], [put("old", "1"), put("other", "2")]).await;
            let free = rustix::fs::statvfs(disk.0.path()).unwrap();
            let ballast = vec![0; usize::try_from(free.f_bavail * free.f_frsize).unwrap() - (3 << 20)];
            std::fs::write(disk.0.path().join("ballast"), ballast).unwrap();
            let error = try_commit(&*kv, vec![put("new", "")]).await.unwrap_err();
            assert!(matches!(error, KvError::NoSpace), "{kind}: {error}");
            assert_eq!(kv.get(b"new").await.unwrap(), None);
            assert_eq!(commit(&*kv, [], [delete("old")]).await, Outcome::Committed);
            std::fs::remove_file(disk.0.path().join("ballast")).unwrap();
            assert_eq!(commit(&*kv, [], [put("new", "")]).await, Outcome::Committed);
        });
        drop(kv);
        assert_eq!(read(kind, &disk.0.path().join("meta")).unwrap(), 2);
    }
}

const FOLDER: &str = "TRANSOM_META_FULL_FOLDER";

/// A transaction that may use the last of the disk, because it deletes something, and is larger than that.
async fn too_large(kv: &dyn Kv) {
    let large = (0..400).map(|n| put(format!("large/{n}"), vec![7; 100_000]));
    let writes = std::iter::once(delete("a")).chain(large).collect();
    commit(kv, [], [put("a", "1")]).await;
    let error = try_commit(kv, writes).await.unwrap_err();
    assert!(matches!(error, KvError::NoSpace), "{error}");
}

fn check_nothing_is_left(kind: Kind, folder: &Path) {
    let found = run(everything(&*open(kind, folder)));
    assert!(found.contains_key(&b"a"[..]), "{kind}: {:?}", found.keys());
    assert!(!found.keys().any(|key| key.starts_with(b"large/")), "{kind}");
}

#[test]
fn a_write_that_the_disk_refuses_leaves_nothing_in_redb() {
    let Some(disk) = Small::mount("24m") else {
        return;
    };
    let folder = disk.0.path().join("meta");
    let kv = open(Kind::Redb, &folder);
    run(async {
        too_large(&*kv).await;
        // It goes on, and gives back what it had taken.
        commit(&*kv, [], [delete("nothing")]).await;
        assert_eq!(commit(&*kv, [], [put("b", "")]).await, Outcome::Committed);
    });
    drop(kv);
    check_nothing_is_left(Kind::Redb, &folder);
}

/// A daemon that is started again on a full disk can read what it knows.
#[test]
fn redb_opens_on_a_full_disk_after_a_crash() {
    let Some(disk) = Small::mount("24m") else {
        return;
    };
    let folder = disk.0.path().join("meta");
    let copy = tempfile::tempdir().unwrap();
    let kv = open(Kind::Redb, &folder);
    run(commit(&*kv, [], [put("a", "1")]));
    // As a crash would leave it: it is still open.
    std::fs::copy(folder.join("redb"), copy.path().join("redb")).unwrap();
    drop(kv);
    std::fs::copy(copy.path().join("redb"), folder.join("redb")).unwrap();
    let mut ballast = std::fs::File::create(disk.0.path().join("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    assert_eq!(rustix::fs::statvfs(disk.0.path()).unwrap().f_bavail, 0);
    let kv = open(Kind::Redb, &folder);
    assert_eq!(run(everything(&*kv)).len(), 1);
    let error = run(try_commit(&*kv, vec![put("b", "")])).unwrap_err();
    assert!(matches!(error, KvError::NoSpace), "{error}");
}

/// sled has to be opened again, and by another process: what failed stays locked in this one.
#[test]
#[ignore = "the process of the next test"]
fn child_with_a_full_disk() {
    let kv = open(Kind::Sled, Path::new(&std::env::var(FOLDER).unwrap()));
    run(async {
        too_large(&*kv).await;
        let error = kv.get(b"a").await.unwrap_err();
        assert!(matches!(error, KvError::Stopped { .. }), "{error}");
    });
}

/// A store of sled after a write that came to the end of the disk; the disk is larger now.
fn sled_after_a_full_disk() -> Option<Small> {
    let disk = Small::mount("24m")?;
    let folder = disk.0.path().join("meta");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kv_files::child_with_a_full_disk", "--ignored"])
        .env(FOLDER, &folder)
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
    // Opening it takes space, and without it sled would make a ruin of it.
    assert!(matches!(kv::open(Kind::Sled, &folder), Err(KvError::NoSpace)));
    let grown = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(disk.0.path())
        .status();
    assert!(grown.unwrap().success());
    Some(disk)
}

#[test]
fn after_a_write_that_the_disk_refuses_sled_can_be_opened() {
    let Some(disk) = sled_after_a_full_disk() else {
        return;
    };
    let kv = open(Kind::Sled, &disk.0.path().join("meta"));
    run(async { assert_eq!(commit(&*kv, [], [put("b", "")]).await, Outcome::Committed) });
}

#[test]
#[ignore = "sled leaves a part of it: docs/decisions/0006-metadata-store.md"]
fn a_write_that_the_disk_refuses_leaves_nothing_in_sled() {
    if let Some(disk) = sled_after_a_full_disk() {
        check_nothing_is_left(Kind::Sled, &disk.0.path().join("meta"));
    }
}
