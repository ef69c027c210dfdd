//! Threads against each other.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use transom_content::{Action, Error, Found, IngestOptions, Reason, Step, Store};

use crate::helpers::{blobs, get, noise, open, put, sha256, statuses, store};

const WRITERS: usize = 64;

/// Runs all at once.
fn together<T: Send>(count: usize, run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (barrier, run) = (Barrier::new(count), &run);
    std::thread::scope(|scope| {
        let start = |n| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                run(n)
            })
        };
        let threads: Vec<_> = (0..count).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn writers_of_many_refs() {
    let (store, _dir) = store();
    let contents: Vec<_> = (0..WRITERS).map(|n| noise(n as u64, 10_000 + n)).collect();
    together(WRITERS, |n| put(&store, &format!("r{n}"), &contents[n]).unwrap());
    assert_eq!(blobs(&store).len(), WRITERS);
    for bytes in &contents {
        assert_eq!(get(&store, &sha256(bytes)), *bytes);
    }
    assert!(statuses(&store).is_empty());
}

#[test]
fn writers_of_one_ref() {
    let (store, dir) = store();
    // Half of them through a store of their own, as other processes would.
    let beside = Store::open(dir.path().join("content")).unwrap();
    let open_now = AtomicUsize::new(0);
    let done = together(WRITERS, |n| {
        let store = if n % 2 == 0 { &store } else { &beside };
        loop {
            match store.ingest("one", IngestOptions::default()) {
                Ok(mut writer) => {
                    assert_eq!(open_now.fetch_add(1, Ordering::SeqCst), 0, "two writers at once");
                    writer
                        .write_at(writer.offset(), &[u8::try_from(n).unwrap()])
                        .unwrap();
                    let offset = writer.offset();
                    open_now.fetch_sub(1, Ordering::SeqCst);
                    writer.close().unwrap();
                    return offset;
                }
                Err(Error::Locked { .. }) => std::thread::sleep(Duration::from_millis(1)),
                Err(e) => panic!("{e}"),
            }
        }
    });
    // Each found what the one before had left.
    let mut offsets = done;
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(1..=WRITERS as u64));
}

#[test]
fn one_blob_by_many_refs_is_committed_once() {
    let (store, _dir) = store();
    let bytes = noise(1, 50_000);
    let results = together(WRITERS, |n| put(&store, &format!("r{n}"), &bytes));
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let lost = results
        .iter()
        .filter(|result| matches!(result, Err(Error::AlreadyExists { .. })));
    assert_eq!(lost.count(), WRITERS - 1);
    assert!(statuses(&store).is_empty());
    assert_eq!(get(&store, &sha256(&bytes)), bytes);
}

/// The race of containerd's that fails every second time there: the folder is removed while the close writes into it.
#[test]
fn abort_against_close() {
    let (store, dir) = store();
    let beside = Store::open(dir.path().join("content")).unwrap();
    for round in 0..1_000 {
        let mut writer = open(&store, "r");
        writer.write(b"abc").unwrap();
        let aborter = if round % 2 == 0 { &store } else { &beside };
        let (closed, aborted) = std::thread::scope(|scope| {
            let close = scope.spawn(|| writer.close());
            let abort = scope.spawn(|| aborter.abort("r"));
            (close.join().unwrap(), abort.join().unwrap())
        });
        // Whoever comes first, the abort finds an ingest, and nothing is left of it.
        aborted.unwrap();
        assert!(
            matches!(closed, Ok(()) | Err(Error::Aborted { .. })),
            "{closed:?}"
        );
        assert_eq!(std::fs::read_dir(store.root().join("ingest")).unwrap().count(), 0);
    }
}

#[test]
fn abort_against_commit() {
    let (store, dir) = store();
    let beside = Store::open(dir.path().join("content")).unwrap();
    for round in 0..300 {
        let mut writer = open(&store, "r");
        writer.write(b"abc").unwrap();
        let aborter = if round % 2 == 0 { &store } else { &beside };
        let (committed, aborted) = std::thread::scope(|scope| {
            let commit = scope.spawn(|| writer.commit(None, None));
            let abort = scope.spawn(|| aborter.abort("r"));
            (commit.join().unwrap(), abort.join().unwrap())
        });
        drop(writer);
        assert!(
            matches!(aborted, Ok(()) | Err(Error::RefNotFound { .. })),
            "{aborted:?}"
        );
        match committed {
            Ok(info) => {
                assert_eq!(get(&store, &info.digest), b"abc");
                store.delete(&info.digest).unwrap();
            }
            Err(error) => {
                assert!(matches!(error, Error::Aborted { .. }), "{error:?}");
                aborted.unwrap();
            }
        }
        assert!(blobs(&store).is_empty());
        assert_eq!(std::fs::read_dir(store.root().join("ingest")).unwrap().count(), 0);
    }
}

#[test]
fn abort_while_opening() {
    let dir = tempfile::tempdir().unwrap();
    let (reached, go_on) = (mpsc::sync_channel(0), mpsc::sync_channel(0));
    let (reached_tx, go_on_rx) = (reached.0, std::sync::Mutex::new(go_on.1));
    let observer = Arc::new(move |step| {
        if step == Step::FolderMade {
            reached_tx.send(()).unwrap();
            go_on_rx.lock().unwrap().recv().unwrap();
        }
    });
    let store = Store::open_observed(dir.path(), observer).unwrap();
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| store.ingest("r", IngestOptions::default()).map(|_| ()));
        reached.1.recv().unwrap();
        store.abort("r").unwrap();
        go_on.0.send(()).unwrap();
        let error = opening.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Aborted { .. }), "{error:?}");
    });
    assert_eq!(std::fs::read_dir(store.root().join("ingest")).unwrap().count(), 0);
}

/// Between finding the folder and locking it, somebody takes it away: the lock would be on a folder that nobody else finds.
#[test]
fn a_folder_that_goes_before_it_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let beside = Store::open(dir.path()).unwrap();
    let (thief, times) = (beside.clone(), AtomicUsize::new(0));
    let observer = Arc::new(move |step| {
        if step == Step::FolderOpened && times.fetch_add(1, Ordering::SeqCst) < 3 {
            thief.abort("r").unwrap();
        }
    });
    let store = Store::open_observed(dir.path(), observer).unwrap();
    let mut writer = open(&store, "r");
    writer.write(b"abc").unwrap();
    assert!(matches!(
        beside.ingest("r", IngestOptions::default()),
        Err(Error::Locked { .. })
    ));
    assert_eq!(writer.commit(None, None).unwrap().size, 3);
}

/// A locked folder is in use, however little is in it.
#[test]
fn a_sweep_leaves_a_locked_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sweeper = Store::open(dir.path()).unwrap();
    let observer = Arc::new(move |step| {
        if step == Step::FolderMade || step == Step::IngestReady {
            let report = sweeper.sweep(Duration::ZERO).unwrap();
            assert_eq!((report.removed, report.resumable), (0, 1), "{report:?}");
        }
    });
    let store = Store::open_observed(dir.path(), observer).unwrap();
    put(&store, "r", b"abc").unwrap();
}

#[test]
fn abort_stops_a_long_rehash() {
    let (store, _dir) = store();
    let mut writer = open(&store, "r");
    writer.write(&noise(1, 4 << 20)).unwrap();
    writer.close().unwrap();
    let mut told = 0;
    let result = store.ingest_watched("r", IngestOptions::default(), |_, all| {
        assert_eq!(all, 4 << 20);
        told += 1;
        if told == 1 {
            store.abort("r").unwrap();
        }
    });
    assert!(matches!(result, Err(Error::Aborted { .. })));
    assert_eq!(told, 1);
    assert_eq!(open(&store, "r").offset(), 0);
}

#[test]
fn delete_while_reading() {
    let (store, _dir) = store();
    let bytes = noise(2, 3 << 20);
    put(&store, "r", &bytes).unwrap();
    let mut reader = store.reader(&sha256(&bytes)).unwrap().verifying();
    let mut begin = vec![0; 1 << 20];
    reader.read_exact(&mut begin).unwrap();
    store.delete(&sha256(&bytes)).unwrap();
    assert!(matches!(store.info(&sha256(&bytes)), Err(Error::NotFound { .. })));
    assert_eq!(reader.read_to_end(&mut begin).unwrap(), 2 << 20);
    assert!(begin == bytes && reader.is_verified());
    // The name is free again.
    put(&store, "r", &bytes).unwrap();
}

#[test]
fn listing_and_sweeping_while_writing() {
    let (store, _dir) = store();
    together(8, |n| {
        for round in 0..40 {
            match n {
                0 => drop(statuses(&store)),
                1 => drop(blobs(&store)),
                2 => {
                    // A folder that is made and not locked yet may go; its writer then makes another.
                    let report = store.sweep(Duration::ZERO).unwrap();
                    let removed = |found: &Found| matches!(found.action, Action::Removed);
                    let mut removed = report.found.iter().filter(|found| removed(found));
                    assert!(removed.all(|found| found.reason == Reason::NoRef), "{report:?}");
                }
                _ => {
                    put(&store, &format!("r{n}"), format!("{n} {round}").as_bytes()).unwrap();
                }
            }
        }
    });
    assert_eq!(blobs(&store).len(), 5 * 40);
}
