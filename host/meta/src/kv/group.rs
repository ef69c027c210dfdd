//! Group commit: one thread takes every transaction that waits, writes them as one step, flushes once and answers them all.
//!
//! A single client waits for nothing but its own flush. While a flush is under way, the transactions of others gather, and
//! the next flush takes all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{Semaphore, broadcast, oneshot};

use super::{Change, Durability, Kind, Kv, KvError, Outcome, Pair, Pending, Range, Stats, Transaction};
use crate::limits;

mod batch;

use batch::Batch;

/// The last value of every key that a batch writes; `None` removes it.
pub(super) type Writes = BTreeMap<Bytes, Option<Bytes>>;

/// What an embedded store does. Only the writer's thread calls [`apply`](Self::apply) and [`flush`](Self::flush).
pub(super) trait Engine: fmt::Debug + Send + Sync + 'static {
    /// Which store this is.
    const KIND: Kind;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    fn range(&self, range: &Range, limit: usize) -> Result<Vec<Pair>, KvError>;

    /// Makes the writes visible as one step, and durable at the next flush at the latest. An engine for which both are one
    /// does both when the writes are to be durable.
    ///
    /// After an error nobody knows which of them are there; only [`recover`](Self::recover) brings the engine back.
    fn apply(&self, writes: &Writes, durability: Durability) -> Result<(), KvError>;

    /// Makes everything durable that was applied.
    fn flush(&self) -> Result<(), KvError>;

    /// Bytes on disk.
    fn size(&self) -> Result<u64, KvError>;

    /// Bytes that the disk has left for it, besides the reserve.
    fn room(&self) -> u64;

    /// After [`KvError::NoSpace`]: goes back to the last flush, so that nothing of the failed writes is there. `false` if it
    /// cannot.
    fn recover(&self) -> bool;
}

/// An engine with its writer. Dropping it answers what waits, flushes and closes the engine.
#[derive(Debug)]
pub(super) struct Group<E: Engine> {
    shared: Arc<Shared<E>>,
    queue: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<E> {
    engine: E,
    permits: Semaphore,
    changes: broadcast::Sender<Change>,
    counters: Counters,
    /// The error that stopped the store.
    stopped: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Counters {
    transactions: AtomicU64,
    conflicts: AtomicU64,
    flushes: AtomicU64,
    flush_nanos: AtomicU64,
}

/// A transaction on its way to the writer.
struct Job {
    transaction: Transaction,
    answer: Option<oneshot::Sender<Result<Outcome, KvError>>>,
}

impl<E: Engine> Group<E> {
    pub(super) fn start(engine: E) -> Result<Group<E>, KvError> {
        let shared = Arc::new(Shared {
            engine,
            permits: Semaphore::new(limits::KV_QUEUE),
            changes: broadcast::channel(limits::WATCH_CHANGES).0,
            counters: Counters::default(),
            stopped: OnceLock::new(),
        });
        let (queue, jobs) = crossbeam_channel::bounded(limits::KV_QUEUE);
        let writer = Writer {
            shared: shared.clone(),
            jobs,
            unflushed: None,
        };
        let writer = std::thread::Builder::new()
            .name("transom-kv".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| super::io_error("start the writer of", &error))?;
        Ok(Group {
            shared,
            queue: Some(queue),
            writer: Some(writer),
        })
    }

    /// Done at once, on the caller's thread: a read that the page cache answers takes less time than handing it over.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&E) -> Result<T, KvError>,
    ) -> Pending<'_, Result<T, KvError>> {
        let found = self.shared.check().and_then(|()| read(&self.shared.engine));
        Box::pin(std::future::ready(found))
    }
}

impl<E: Engine> Kv for Group<E> {
    fn name(&self) -> &'static str {
        E::KIND.name()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<Option<Bytes>, KvError>> {
        self.read(|engine| engine.get(key))
    }

    fn range<'a>(&'a self, range: &'a Range, limit: usize) -> Pending<'a, Result<Vec<Pair>, KvError>> {
        self.read(|engine| engine.range(range, limit))
    }

    fn size(&self) -> Pending<'_, Result<u64, KvError>> {
        self.read(Engine::size)
    }

    fn commit(&self, transaction: Transaction) -> Pending<'_, Result<Outcome, KvError>> {
        Box::pin(async move {
            self.shared.check()?;
            // Held until the answer is there, so there is always a place in the queue.
            let permit = self.shared.permits.acquire().await;
            let _permit = permit.map_err(|_| self.shared.why_stopped())?;
            let (answer, answered) = oneshot::channel();
            let answer = Some(answer);
            let job = Job { transaction, answer };
            let sent = self.queue.as_ref().map(|queue| queue.send(job));
            if !matches!(sent, Some(Ok(()))) {
                return Err(self.shared.why_stopped());
            }
            answered.await.unwrap_or_else(|_| Err(self.shared.why_stopped()))
        })
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            transactions: counters.transactions.load(Ordering::Relaxed),
            conflicts: counters.conflicts.load(Ordering::Relaxed),
            flushes: counters.flushes.load(Ordering::Relaxed),
            flush_seconds: Duration::from_nanos(counters.flush_nanos.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

impl<E: Engine> Drop for Group<E> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            // Its panics are caught and answered.
            let _ = writer.join();
        }
    }
}

impl<E> Shared<E> {
    fn check(&self) -> Result<(), KvError> {
        if self.stopped.get().is_some() {
            return Err(self.why_stopped());
        }
        Ok(())
    }

    fn why_stopped(&self) -> KvError {
        let reason = self.stopped.get().cloned().unwrap_or_default();
        KvError::Stopped { reason }
    }

    fn stop(&self, error: &KvError) {
        tracing::error!(%error, "the metadata store stops");
        // The first reason stays.
        let _ = self.stopped.set(error.to_string());
    }
}

/// What the thread runs.
struct Writer<E> {
    shared: Arc<Shared<E>>,
    jobs: Receiver<Job>,
    /// Since when something is applied and not flushed.
    unflushed: Option<Instant>,
}

impl<E: Engine> Writer<E> {
    fn run(mut self) {
        while let Some(first) = self.next() {
            let batch = Batch::gather(first, &self.jobs);
            self.write(batch);
        }
        if self.unflushed.is_some() {
            self.flush_alone();
        }
    }

    /// The next job, as soon as there is one; meanwhile what may be lost is flushed when it is time.
    fn next(&mut self) -> Option<Job> {
        loop {
            let Some(since) = self.unflushed else {
                return self.jobs.recv().ok();
            };
            match self.jobs.recv_deadline(since + limits::KV_EVENTUAL_FLUSH) {
                Ok(job) => return Some(job),
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => self.flush_alone(),
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn flush_alone(&mut self) {
        self.unflushed = None;
        let flushed = self.shared.check().and_then(|()| self.timed(Engine::flush));
        if let Err(error) = flushed {
            self.shared.stop(&error);
        }
    }

    fn write(&mut self, mut batch: Batch) {
        if let Err(stopped) = self.shared.check() {
            batch.refuse_all(&stopped);
            return;
        }
        let (committed, refused) = match self.check(&mut batch) {
            Ok(checked) => checked,
            Err(error) => return self.fail(batch, &error),
        };
        self.shared
            .counters
            .conflicts
            .fetch_add(refused, Ordering::Relaxed);
        // Counted before: whoever has an answer sees it counted.
        batch.answer_refused();
        if committed == 0 {
            return;
        }
        if let Err(error) = self.apply(&mut batch, committed) {
            return self.fail(batch, &error);
        }
        batch.announce(&self.shared.changes);
        batch.confirm();
    }

    /// Checks the conditions one after the other and sets the conflicts apart.
    fn check(&self, batch: &mut Batch) -> Result<(u64, u64), KvError> {
        guarded(|| batch.check(&self.shared.engine))
    }

    /// Writes `committed` transactions, and counts them before any of them is answered.
    fn apply(&mut self, batch: &mut Batch, committed: u64) -> Result<(), KvError> {
        let durability = batch.durability();
        let transactions = &self.shared.counters.transactions;
        if durability == Durability::Eventual {
            guarded(|| self.shared.engine.apply(batch.writes(), durability))?;
            transactions.fetch_add(committed, Ordering::Relaxed);
            self.unflushed.get_or_insert_with(Instant::now);
            return Ok(());
        }
        self.timed(|engine| {
            engine.apply(batch.writes(), durability)?;
            transactions.fetch_add(committed, Ordering::Relaxed);
            batch.confirm_eventual();
            engine.flush()
        })?;
        self.unflushed = None;
        Ok(())
    }

    fn timed(&self, work: impl FnOnce(&E) -> Result<(), KvError>) -> Result<(), KvError> {
        let start = Instant::now();
        let done = guarded(|| work(&self.shared.engine));
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let counters = &self.shared.counters;
        counters.flushes.fetch_add(1, Ordering::Relaxed);
        counters.flush_nanos.fetch_add(nanos, Ordering::Relaxed);
        done
    }

    /// Without space the store goes on if it can; after any other error nobody knows what the disk holds.
    fn fail(&self, batch: Batch, error: &KvError) {
        if !matches!(error, KvError::NoSpace) || !self.shared.engine.recover() {
            self.shared.stop(error);
        }
        batch.refuse_all(error);
    }
}

/// A store that finds its files damaged may panic; that ends the store, not the process.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, KvError>) -> Result<T, KvError> {
    caught(work).unwrap_or_else(|reason| {
        Err(KvError::Io {
            action: "work on",
            reason,
        })
    })
}

/// As [`guarded`], while the files are opened: a panic then means that they are not what was expected.
pub(super) fn opening<T>(path: &Path, open: impl FnOnce() -> Result<T, KvError>) -> Result<T, KvError> {
    caught(open).unwrap_or_else(|reason| Err(super::damaged(path, reason)))
}

fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("a panic: {}", text.unwrap_or("without a text"))
    })
}
