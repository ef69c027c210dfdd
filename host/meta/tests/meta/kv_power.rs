//! A disk in memory that forgets, when its power is cut, any part of what was not synced; and one that fails.
//!
//! Only redb lets its bytes be kept by someone else. What the group commit does around it is the same for sled.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use redb::StorageBackend;
use transom_meta::kv::{self, KvError, Outcome, Transaction};

use crate::kv::{bytes, put, run};
use crate::kv_workload::{Acknowledged, Dice, TASKS, check, work};

/// What a disk writes as one; a cut may come between two of them.
const SECTOR: usize = 512;

enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
            Change::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// The sectors that got to the disk in time.
    fn apply_torn(&self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        let Change::Write(offset, data) = self else {
            return self.apply(bytes);
        };
        for (number, sector) in data.chunks(SECTOR).enumerate() {
            if dice.roll(2) == 0 {
                Change::Write(offset + number * SECTOR, sector.to_vec()).apply(bytes);
            }
        }
    }
}

#[derive(Default)]
struct Bytes {
    /// What programs see.
    seen: Vec<u8>,
    /// What a cut leaves in any case.
    durable: Vec<u8>,
    /// What it may leave, in part.
    unsynced: Vec<Change>,
}

#[derive(Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Bytes>>,
    /// Syncs wait while someone holds this.
    gate: Arc<Mutex<()>>,
    broken: Arc<AtomicBool>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    fn holding(bytes: Vec<u8>) -> Disk {
        let disk = Disk::default();
        disk.lock().seen.clone_from(&bytes);
        disk.lock().durable = bytes;
        disk
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change) {
        let mut bytes = self.lock();
        change.apply(&mut bytes.seen);
        bytes.unsynced.push(change);
    }

    /// What is on the disk when the power goes now: of the writes since the last sync none, or each whole, in part or not.
    fn cut_power(&self, dice: &mut Dice) -> Vec<u8> {
        let bytes = self.lock();
        let mut left = bytes.durable.clone();
        let forgets = dice.roll(4) == 0;
        for change in &bytes.unsynced {
            match dice.roll(3) {
                _ if forgets => {}
                0 => change.apply(&mut left),
                1 => change.apply_torn(&mut left, dice),
                _ => {}
            }
        }
        left
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let end = offset + out.len();
        let bytes = self.lock();
        let data = bytes.seen.get(offset..end);
        out.copy_from_slice(data.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(length).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        drop(self.gate.lock());
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("a broken disk"));
        }
        let mut bytes = self.lock();
        let Bytes {
            durable, unsynced, ..
        } = &mut *bytes;
        unsynced.drain(..).for_each(|change| change.apply(durable));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec()));
        Ok(())
    }
}

/// Works on a disk until its power is cut; what is left, and what was acknowledged before the cut.
fn work_until_cut(image: Vec<u8>, acknowledged: &Acknowledged, dice: &mut Dice) -> (Vec<u8>, Acknowledged) {
    let disk = Disk::holding(image);
    let kv = kv::redb::on(disk.clone()).unwrap();
    let done: Arc<[AtomicU64; TASKS]> = Arc::new(acknowledged.map(AtomicU64::new));
    let enough = acknowledged.iter().sum::<u64>() + dice.roll(300);
    run(async {
        for task in 0..TASKS {
            let done = done.clone();
            tokio::spawn(work(kv.clone(), task, move |task, number| {
                done[task].store(number, Ordering::SeqCst);
            }));
        }
        let acknowledged = || std::array::from_fn(|task| done[task].load(Ordering::SeqCst));
        while acknowledged().iter().sum::<u64>() < enough {
            tokio::task::yield_now().await;
        }
        // Acknowledged first: what is acknowledged between the two may be lost with the rest.
        let acknowledged = acknowledged();
        (disk.cut_power(dice), acknowledged)
    })
}

#[test]
fn redb_survives_the_loss_of_any_unsynced_write() {
    let mut dice = Dice(0xc07);
    let mut acknowledged = [0; TASKS];
    let mut image = {
        // A store is made in whole before it gets its name, so cuts begin after that.
        let disk = Disk::default();
        drop(kv::redb::on(disk.clone()).unwrap());
        let bytes = disk.lock();
        bytes.durable.clone()
    };
    for round in 0..std::env::var("TRANSOM_META_CRASH_ROUNDS").map_or(15, |text| text.parse().unwrap()) {
        let (left, was_acknowledged) = work_until_cut(image, &acknowledged, &mut dice);
        let kv = kv::redb::on(Disk::holding(left.clone())).unwrap_or_else(|e| panic!("round {round}: {e}"));
        acknowledged = run(check(&*kv, &was_acknowledged)).unwrap_or_else(|e| panic!("round {round}: {e}"));
        // The next round finds what the cut left, not what this check repaired.
        image = left;
    }
    assert!(acknowledged.iter().all(|count| *count > 0), "{acknowledged:?}");
}

fn set(key: &str) -> Transaction {
    Transaction {
        writes: vec![put(key, "")],
        ..Transaction::default()
    }
}

#[test]
fn who_waits_for_a_flush_shares_the_next() {
    let disk = Disk::default();
    let kv = kv::redb::on(disk.clone()).unwrap();
    let gate = disk.gate.lock().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting: Vec<_> = (0..50).map(|n| kv.commit(set(&n.to_string()))).collect();
    // The first alone, until it is at the gate.
    assert!(waiting[0].as_mut().poll(&mut context).is_pending());
    while disk.lock().unsynced.is_empty() {
        std::thread::yield_now();
    }
    for commit in &mut waiting {
        assert!(commit.as_mut().poll(&mut context).is_pending());
    }
    drop(gate);
    run(async {
        for mut commit in waiting {
            assert_eq!(
                poll_fn(|cx| commit.as_mut().poll(cx)).await.unwrap(),
                Outcome::Committed
            );
        }
    });
    let stats = kv.stats();
    assert_eq!((stats.transactions, stats.flushes), (50, 2));
    assert!(stats.flush_seconds > 0.0);
}

#[test]
fn after_a_failed_flush_the_store_stops() {
    let disk = Disk::default();
    let kv = kv::redb::on(disk.clone()).unwrap();
    run(async {
        kv.commit(set("a")).await.unwrap();
        disk.broken.store(true, Ordering::Relaxed);
        let error = kv.commit(set("b")).await.unwrap_err();
        assert!(
            matches!(&error, KvError::Io { reason, .. } if reason.contains("a broken disk")),
            "{error}"
        );
        disk.broken.store(false, Ordering::Relaxed);
        let stopped = |error: &KvError| matches!(error, KvError::Stopped { reason } if reason.contains("a broken disk"));
        assert!(stopped(&kv.commit(set("c")).await.unwrap_err()));
        // Nobody knows whether what it would read is on the disk.
        assert!(stopped(&kv.get(b"a").await.unwrap_err()));
    });
    drop(kv);
    let left = disk.lock().durable.clone();
    let kv = kv::redb::on(Disk::holding(left)).unwrap();
    assert_eq!(run(kv.get(b"a")).unwrap(), Some(bytes("")));
}

#[test]
fn what_is_dropped_while_it_waits_still_happens() {
    let disk = Disk::default();
    let kv = kv::redb::on(disk.clone()).unwrap();
    let mut commit = kv.commit(set("a"));
    assert!(matches!(
        commit.as_mut().poll(&mut Context::from_waker(Waker::noop())),
        Poll::Pending
    ));
    drop(commit);
    run(async {
        kv.commit(set("b")).await.unwrap();
        assert_eq!(kv.get(b"a").await.unwrap(), Some(bytes("")));
    });
}
