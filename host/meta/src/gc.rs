//! Garbage collection: what nothing keeps any more is removed.
//!
//! `docs/formats/metadata.md` says what keeps what. Read in this order: this file (asking for a run), `run` (what a run does,
//! and why it loses nothing), `scan` (records into a graph), `labels` (what they say), `graph` (marks), `blobs` (the content
//! store), `grace` (content that nothing has referenced yet). Beside them: [`resources`] (how other parts take part) and
//! [`scheduler`] (when a run begins by itself).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::metadata::joined;
use crate::snapshots::Part;
use crate::{Error, Metadata};

mod blobs;
pub(crate) mod grace;
mod graph;
pub(crate) mod labels;
pub mod resources;
mod run;
mod scan;
pub mod scheduler;

pub use resources::{Object, Removal, Resources};
pub use scheduler::{Scheduler, Settings};

/// What one collection did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// When it began.
    pub started: SystemTime,
    /// How long it took, with the content store.
    pub duration: Duration,
    /// How long it took until all records were removed.
    pub metadata: Duration,
    /// The longest time for which transactions had to wait for it.
    pub longest_pause: Duration,
    /// How often they had to wait.
    pub pauses: u64,
    /// All of those waits together.
    pub paused: Duration,
    /// What was removed.
    pub removed: Removed,
    /// Bytes of the blobs and ingests that were removed.
    pub bytes: u64,
}

/// How much was removed, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Images that had expired. Each is an event `/images/delete`.
    pub images: u64,
    /// Content records. No event, as with containerd.
    pub content: u64,
    /// Snapshots. Their part publishes the events.
    pub snapshots: u64,
    /// Ingests that had expired, or whose lease had gone.
    pub ingests: u64,
    /// Leases that had expired.
    pub leases: u64,
    /// Objects of other parts.
    pub others: u64,
    /// Blobs in the content store that no namespace has any more.
    pub blobs: u64,
    /// Ingests in the content store that have no record any more.
    pub uploads: u64,
}

/// What all collections since the start did together, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs that came to their end.
    pub runs: u64,
    /// Runs that failed.
    pub failures: u64,
    /// How long the runs took.
    pub duration: Duration,
    /// How often transactions had to wait for a run.
    pub pauses: u64,
    /// All of those waits together.
    pub paused: Duration,
    /// Bytes of the blobs and ingests that were removed.
    pub bytes: u64,
}

impl Totals {
    fn add(&mut self, run: &Stats) {
        self.runs += 1;
        self.duration += run.duration;
        self.pauses += run.pauses;
        self.paused += run.paused;
        self.bytes += run.bytes;
    }
}

/// Lets one run happen at a time, and those who wait for the same one share it.
#[derive(Default)]
pub(crate) struct Collector {
    parts: Mutex<Vec<Arc<dyn Resources>>>,
    /// The number of the run that began last.
    begun: AtomicU64,
    /// Held during a run: the number of the one that ended last, and what became of it.
    ended: Arc<tokio::sync::Mutex<Ended>>,
    last: Mutex<Option<Stats>>,
    totals: Mutex<Totals>,
}

/// A run that has come to its end.
struct Ended {
    number: u64,
    result: Result<(), String>,
}

impl Default for Ended {
    fn default() -> Self {
        Ended {
            number: 0,
            result: Ok(()),
        }
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

impl Metadata {
    /// Lets another part take part in collections, from the next one on.
    pub fn register(&self, part: Arc<dyn Resources>) {
        lock(&self.inner.collector.parts).push(part);
    }

    /// Removes what nothing keeps. The run begins after this call; those who call while one is under way share the next one. When
    /// it returns, what was garbage at the time of the call has gone, records and blobs.
    ///
    /// # Errors
    /// [`Error::Collect`]; what was removed until then is removed.
    pub async fn collect(&self) -> Result<Stats, Error> {
        let before = self.inner.collector.begun.load(Ordering::SeqCst);
        let mut ended = Arc::clone(&self.inner.collector.ended).lock_owned().await;
        if ended.number <= before {
            let metadata = self.clone();
            // A run comes to its end when the one who asked for it hangs up: others may wait for it.
            let run = tokio::spawn(async move {
                let number = metadata.inner.collector.begun.fetch_add(1, Ordering::SeqCst) + 1;
                let result = metadata.run().await;
                *ended = Ended {
                    number,
                    result: result.map_err(|error| error.to_string()),
                };
                ended
            });
            ended = joined(run.await);
        }
        let failed = |reason: &String| Error::Collect {
            reason: reason.clone(),
        };
        ended.result.as_ref().map_err(failed)?;
        let last = self.last_collection();
        last.ok_or_else(|| failed(&"it left no result".to_owned()))
    }

    /// What the last collection did that came to its end.
    #[must_use]
    pub fn last_collection(&self) -> Option<Stats> {
        *lock(&self.inner.collector.last)
    }

    /// What all collections since the start did together.
    #[must_use]
    pub fn collections(&self) -> Totals {
        *lock(&self.inner.collector.totals)
    }

    async fn run(&self) -> Result<(), Error> {
        let collector = &self.inner.collector;
        let mut parts = lock(&collector.parts).clone();
        parts.push(Arc::new(Part::new(&self.inner)));
        self.inner.activity.reset();
        match run::run(&self.inner, &parts).await {
            Ok(stats) => {
                tracing::debug!(?stats, "collected garbage");
                *lock(&collector.last) = Some(stats);
                lock(&collector.totals).add(&stats);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "collecting garbage failed");
                lock(&collector.totals).failures += 1;
                Err(error)
            }
        }
    }
}

/// What these mutexes guard is replaced as a whole, so a poisoned one is used on.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
