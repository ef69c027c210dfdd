//! Events that are told to others over HTTP, as docker-registry's notifications, and that survive a restart.
//!
//! An event is written into the key-value store, once for each endpoint that wants it, before the client is answered; one flush
//! of the disk serves all who wait for it. A task for each endpoint sends what is there in order and deletes what was taken. So an
//! event is told at least once, and after a crash perhaps twice: receivers know it by its `id`.
//!
//! Read in this order: [`settings`], `envelope` (what is sent), `queue` (what waits), `target` (HTTP), `delivery` (the task), [`limits`].

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use ring::rand::SystemRandom;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transom_meta::kv::{Durability, Kv, KvError};

use crate::event::{Event, Listener};
use crate::settings::SetupError;

mod delivery;
mod envelope;
pub mod limits;
mod queue;
pub mod settings;
mod target;

use delivery::Endpoint;
pub use envelope::{MEDIA_TYPE, Source};
use queue::Queue;
pub use settings::Settings;
use target::Target;

/// Why notifications cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An endpoint is configured in a way that cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The events of the last run cannot be read.
    #[error("cannot read the events that wait: {0}")]
    Store(#[from] KvError),
}

/// What became of an endpoint's events since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The endpoint.
    pub name: String,
    /// Events that wait.
    pub pending: u64,
    /// Events that were recorded for it.
    pub recorded: u64,
    /// Events that it took.
    pub delivered: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Events that were lost, because too many waited or the store did not take them.
    pub lost: u64,
    /// Why the last request failed, while no other one has succeeded.
    pub problem: Option<String>,
}

/// Records events and tells them.
pub struct Notifier {
    recorder: Arc<Recorder>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier")
            .field("recorder", &self.recorder)
            .finish_non_exhaustive()
    }
}

/// What recording needs.
#[derive(Debug)]
struct Recorder {
    kv: Arc<dyn Kv>,
    source: Source,
    endpoints: Vec<Arc<Endpoint>>,
    random: SystemRandom,
}

impl Notifier {
    /// Goes on with what waits from the last run. Events of endpoints that are not configured any more are deleted, with a warning.
    ///
    /// The store may be one that others use, too: all keys begin with `notify/`. Needs tokio's runtime, as long as it lives.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(all: &[Settings], kv: Arc<dyn Kv>, source: Source) -> Result<Notifier, OpenError> {
        settings::check(all)?;
        let names: Vec<&str> = all.iter().map(|settings| settings.name.as_str()).collect();
        for (endpoint, events) in queue::forget_others(&*kv, &names).await? {
            tracing::warn!(
                endpoint,
                events,
                "events of an endpoint that is not configured any more are deleted"
            );
        }
        let mut endpoints = Vec::new();
        for settings in all.iter().filter(|settings| !settings.disabled) {
            let target = Target::new(settings)?;
            let queue = Queue::open(Arc::clone(&kv), &settings.name, settings.queue).await?;
            endpoints.push(Arc::new(Endpoint::new(settings.clone(), queue, target)));
        }
        let (stop, stopped) = watch::channel(false);
        let run = |endpoint: &Arc<Endpoint>| {
            let (endpoint, stopped) = (Arc::clone(endpoint), stopped.clone());
            tokio::spawn(async move { endpoint.run(stopped).await })
        };
        let tasks = Mutex::new(endpoints.iter().map(run).collect());
        let recorder = Recorder {
            kv,
            source,
            endpoints,
            random: SystemRandom::new(),
        };
        Ok(Notifier {
            recorder: Arc::new(recorder),
            stop,
            tasks,
        })
    }

    /// The endpoints that are told, for the metrics.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let status = |endpoint: &Arc<Endpoint>| Status {
            name: endpoint.settings.name.clone(),
            pending: endpoint.queue.held(),
            recorded: endpoint.counts.recorded.load(Ordering::Relaxed),
            delivered: endpoint.counts.delivered.load(Ordering::Relaxed),
            failures: endpoint.counts.failures.load(Ordering::Relaxed),
            lost: endpoint.counts.lost.load(Ordering::Relaxed),
            problem: endpoint.problem().clone(),
        };
        self.recorder.endpoints.iter().map(status).collect()
    }

    /// Stops sending, after the requests that are on their way: each endpoint's timeout at most. What waits is kept for the next
    /// run, and what is recorded from now on, too.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task that sends events has died");
            }
        }
    }
}

impl Recorder {
    async fn write(&self, event: Event) {
        let id = envelope::id(&self.random, event.at);
        let mut writes = Vec::new();
        let mut written = Vec::new();
        for endpoint in self
            .endpoints
            .iter()
            .filter(|endpoint| wants(&endpoint.settings, &event))
        {
            let references = endpoint.settings.include_references;
            let text = envelope::event(&event, &id, &self.source, references);
            match endpoint.queue.reserve(text) {
                Some(write) => {
                    writes.push(write);
                    written.push(endpoint);
                }
                None => lose(endpoint, "too many wait already"),
            }
        }
        if writes.is_empty() {
            return;
        }
        let committed = queue::commit(&*self.kv, writes, Durability::Durable).await;
        for endpoint in written {
            match &committed {
                Ok(()) => {
                    endpoint.counts.recorded.fetch_add(1, Ordering::Relaxed);
                    endpoint.queue.arrived.notify_one();
                }
                Err(error) => {
                    endpoint.queue.lost();
                    lose(endpoint, &error.to_string());
                }
            }
        }
    }
}

fn wants(settings: &Settings, event: &Event) -> bool {
    let ignore = &settings.ignore;
    let media_type = event.target.media_type.as_deref();
    !ignore.actions.contains(&event.action.into())
        && !media_type.is_some_and(|media_type| ignore.media_types.contains(media_type))
}

/// Counts a lost event. The log says so for the first, and then ever more rarely.
fn lose(endpoint: &Endpoint, reason: &str) {
    let lost = endpoint.counts.lost.fetch_add(1, Ordering::Relaxed) + 1;
    if lost.is_power_of_two() {
        let name = &endpoint.settings.name;
        tracing::error!(
            endpoint = name,
            lost,
            reason,
            "an event is lost: it will not be told"
        );
    }
}

impl Listener for Notifier {
    /// In a task of its own: the client may go away meanwhile, and what it did is told nevertheless.
    fn record(&self, event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let recorder = Arc::clone(&self.recorder);
        let task = tokio::spawn(async move { recorder.write(event).await });
        Box::pin(async move {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task that records an event has died");
            }
        })
    }
}
