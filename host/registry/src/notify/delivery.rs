//! The task that sends the events of one endpoint, in order, each until it is taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use transom_meta::kv::Pair;

use super::envelope;
use super::limits;
use super::queue::Queue;
use super::settings::Settings;
use super::target::{Answer, Target};

/// An endpoint with its events.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) settings: Settings,
    pub(super) queue: Queue,
    target: Target,
    pub(super) counts: Counts,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) recorded: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Why the last request failed, while no other one has succeeded.
    pub(super) problem: Mutex<Option<String>>,
}

/// The signal to stop; a sender that is gone is one, too.
pub(super) type Stop = watch::Receiver<bool>;

impl Endpoint {
    pub(super) fn new(settings: Settings, queue: Queue, target: Target) -> Endpoint {
        Endpoint {
            settings,
            queue,
            target,
            counts: Counts::default(),
        }
    }

    /// Sends until it is told to stop; a request that is on its way is waited for.
    pub(super) async fn run(&self, mut stop: Stop) {
        let mut most = limits::BATCH_EVENTS;
        let mut failures = 0u32;
        while !stopped(&stop) {
            let arrived = self.queue.arrived.notified();
            let events = match self.queue.oldest(most).await {
                Ok(events) if events.is_empty() => {
                    until(arrived, &mut stop).await;
                    continue;
                }
                Ok(events) => events,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.failed(&error.to_string(), failures, &mut stop).await;
                    continue;
                }
            };
            match self.deliver(&events).await {
                Ok(()) => (most, failures) = (limits::BATCH_EVENTS, 0),
                Err(Refused { reason, too_large }) => {
                    if too_large {
                        most = (events.len() / 2).max(1);
                    }
                    failures = failures.saturating_add(1);
                    self.failed(&reason, failures, &mut stop).await;
                }
            }
        }
    }

    async fn deliver(&self, events: &[Pair]) -> Result<(), Refused> {
        let body = envelope::envelope(events.iter().map(|pair| &pair.value[..]));
        let answer = self.target.send(body).await;
        if !answer.taken() {
            return Err(answer.into());
        }
        let removed = self.queue.remove(events).await;
        removed.map_err(|error| Refused {
            reason: error.to_string(),
            too_large: false,
        })?;
        self.counts
            .delivered
            .fetch_add(events.len() as u64, Ordering::Relaxed);
        if self.problem().take().is_some() {
            tracing::info!(endpoint = self.settings.name, "events are taken again");
        }
        Ok(())
    }

    /// Counts a failure, says so once, and waits before the next try.
    async fn failed(&self, reason: &str, failures: u32, stop: &mut Stop) {
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        let before = self.problem().replace(reason.to_owned());
        if before.as_deref() != Some(reason) {
            let (endpoint, waiting) = (&self.settings.name, self.queue.held());
            tracing::warn!(
                endpoint,
                waiting,
                reason,
                "events are not taken; they are kept and sent again"
            );
        }
        until(tokio::time::sleep(self.wait(failures)), stop).await;
    }

    /// How long to wait after so many failures in a row.
    fn wait(&self, failures: u32) -> Duration {
        let longest = self.settings.backoff.0;
        if failures >= self.settings.threshold {
            return longest;
        }
        let doubled = limits::FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(20));
        doubled.min(longest)
    }

    pub(super) fn problem(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.counts.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why events were not taken.
struct Refused {
    reason: String,
    too_large: bool,
}

impl From<Answer> for Refused {
    fn from(answer: Answer) -> Refused {
        Refused {
            reason: answer.to_string(),
            too_large: answer.too_large(),
        }
    }
}

fn stopped(stop: &Stop) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Waits for something, or for the signal to stop.
async fn until(something: impl Future<Output = ()>, stop: &mut Stop) {
    tokio::select! {
        () = something => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
