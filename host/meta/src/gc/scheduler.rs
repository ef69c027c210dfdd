//! When a collection begins by itself, by containerd's rules and settings.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::Stats;
use crate::metadata::Activity;
use crate::{Error, Metadata};

#[cfg(test)]
mod tests;

/// The least that a run is taken to last when the time between runs is chosen.
const SHORTEST_RUN: Duration = Duration::from_millis(5);
/// The time between runs as long as nothing is known of how long they take.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// How much longer than usual a failed run waits to be tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The settings of the scheduler: names, meaning and defaults are containerd's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The part of the time, 0 to 0.5, that collections may take: 0.02 leaves 49 times as long between two runs as they take
    /// (on the metadata; at least 5 ms are counted). 0 means a run each second at most.
    pub pause_threshold: f64,
    /// After so many deletions a run begins without waiting for its time. 0 turns that off.
    pub deletion_threshold: u64,
    /// After so many changes of any kind there is a run, also if nothing was deleted. 0 turns that off.
    pub mutation_threshold: u64,
    /// How long a run that was asked for, or that is due to deletions, is put off, so that it serves more of them.
    pub schedule_delay: Duration,
    /// When the first run begins after the start. 0 means: not before something is deleted.
    pub startup_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            pause_threshold: 0.02,
            deletion_threshold: 0,
            mutation_threshold: 100,
            schedule_delay: Duration::ZERO,
            startup_delay: Duration::from_millis(100),
        }
    }
}

type Waiter = oneshot::Sender<Result<Stats, Error>>;

/// A scheduler that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Scheduler {
    requests: mpsc::UnboundedSender<Waiter>,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// Starts one for this metadata. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(metadata: Metadata, settings: Settings) -> Scheduler {
        Scheduler::of(metadata, settings)
    }

    fn of(work: impl Work, settings: Settings) -> Scheduler {
        let (requests, waiting) = mpsc::unbounded_channel();
        let plan = Plan::new(work, settings);
        let task = tokio::spawn(plan.follow(waiting));
        Scheduler { requests, task }
    }

    /// As [`Metadata::collect`], but puts it off by `schedule_delay`, so that others who ask share the run.
    ///
    /// # Errors
    /// [`Error::Collect`].
    pub async fn collect(&self) -> Result<Stats, Error> {
        let stopped = |_| Error::Collect {
            reason: "the scheduler has stopped".to_owned(),
        };
        let (waiter, result) = oneshot::channel();
        self.requests.send(waiter).map_err(|_| ()).map_err(stopped)?;
        result.await.map_err(|_| ()).map_err(stopped)?
    }

    /// Stops it, once the run that may be under way has come to its end.
    pub async fn stop(self) {
        let Scheduler { requests, task } = self;
        drop(requests);
        // It can only have ended by a panic of a run, which was logged.
        let _ = task.await;
    }
}

/// What is scheduled.
trait Work: Send + Sync + 'static {
    fn activity(&self) -> &Arc<Activity>;
    fn run(&self) -> impl Future<Output = Result<Stats, Error>> + Send;
}

impl Work for Metadata {
    fn activity(&self) -> &Arc<Activity> {
        &self.inner.activity
    }

    fn run(&self) -> impl Future<Output = Result<Stats, Error>> + Send {
        self.collect()
    }
}

struct Plan<W> {
    work: W,
    settings: Settings,
    waiters: Vec<Waiter>,
    /// When the next run begins, or is found not to be needed.
    next: Option<Instant>,
    /// Time between runs.
    interval: Duration,
    /// How many runs there were, and how long they took.
    runs: u32,
    took: Duration,
}

impl<W: Work> Plan<W> {
    fn new(work: W, settings: Settings) -> Plan<W> {
        Plan {
            work,
            settings,
            waiters: Vec::new(),
            next: None,
            interval: FIRST_INTERVAL,
            runs: 0,
            took: Duration::ZERO,
        }
    }

    async fn follow(mut self, mut requests: mpsc::UnboundedReceiver<Waiter>) {
        if !self.settings.startup_delay.is_zero() {
            self.next = Some(Instant::now() + self.settings.startup_delay);
        }
        let activity = Arc::clone(self.work.activity());
        loop {
            let next = self.next;
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(waiter) => self.waiters.push(waiter),
                    None => return,
                },
                () = due => {
                    self.tick().await;
                    continue;
                }
                () = activity.changed.notified() => {}
            }
            self.consider();
        }
    }

    /// Brings the next run forward if there is a reason.
    fn consider(&mut self) {
        let (deletions, mutations) = self.counts();
        let settings = &self.settings;
        let many = settings.deletion_threshold > 0 && deletions >= settings.deletion_threshold;
        let delay = if !self.waiters.is_empty() || many {
            settings.schedule_delay
        } else if self.next.is_none() && self.is_worth_while(deletions, mutations) {
            // Nothing was due, and so the clock stood still since the last run. It goes on from here.
            let rest = if self.runs > 0 {
                self.interval
            } else {
                Duration::ZERO
            };
            settings.schedule_delay.max(rest)
        } else {
            return;
        };
        let at = Instant::now() + delay;
        if self.next.is_none_or(|next| next > at) {
            self.next = Some(at);
        }
    }

    fn is_worth_while(&self, deletions: u64, mutations: u64) -> bool {
        let threshold = self.settings.mutation_threshold;
        deletions > 0 || threshold > 0 && mutations >= threshold
    }

    fn counts(&self) -> (u64, u64) {
        let activity = self.work.activity();
        (
            activity.deletions.load(Ordering::Relaxed),
            activity.mutations.load(Ordering::Relaxed),
        )
    }

    /// The time has come: runs, if that is worth while.
    async fn tick(&mut self) {
        let (deletions, mutations) = self.counts();
        let first = self.runs == 0;
        if !first && self.waiters.is_empty() && !self.is_worth_while(deletions, mutations) {
            self.next = None;
            return;
        }
        let waiters = std::mem::take(&mut self.waiters);
        match self.work.run().await {
            Ok(stats) => {
                self.learn(stats.metadata);
                self.next = Some(Instant::now() + self.interval);
                for waiter in waiters {
                    // Who waited may have gone.
                    let _ = waiter.send(Ok(stats));
                }
            }
            Err(error) => {
                self.next = Some(Instant::now() + self.interval + AFTER_FAILURE);
                for waiter in waiters {
                    let _ = waiter.send(Err(again(&error)));
                }
            }
        }
    }

    /// Sets the time between runs, so that runs of the usual length take the wanted part of it.
    fn learn(&mut self, took: Duration) {
        self.runs = self.runs.saturating_add(1);
        self.took = self.took.saturating_add(took);
        let threshold = self.settings.pause_threshold.clamp(0.0, 0.5);
        if threshold > 0.0 {
            let mean = (self.took / self.runs).max(SHORTEST_RUN).as_secs_f64();
            let interval = Duration::try_from_secs_f64(mean / threshold - mean);
            self.interval = interval.unwrap_or(Duration::MAX / 2);
        }
    }
}

/// The same error for another who waited.
fn again(error: &Error) -> Error {
    let reason = match error {
        Error::Collect { reason } => reason.clone(),
        other => other.to_string(),
    };
    Error::Collect { reason }
}
