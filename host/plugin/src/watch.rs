//! One version of a plugin at work: its calls are let begin or not, counted, timed and remembered.
//!
//! `history` is what is remembered of a plugin's name, `metrics` what Prometheus is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use crate::breaker::{Breaker, Clock, Ending, Permit, Settings, Suspended};
use crate::error::Fault;

mod history;
mod metrics;

pub use history::{Failed, Histories, History};
pub use metrics::{InUse, PluginCalls, PluginsInUse};

/// In the words of the metrics: a job that was refused because its plugin is suspended.
pub const SUSPENDED: &str = "suspended";

/// What happened inside a plugin, in the words of the metrics.
#[must_use]
pub fn result(fault: &Fault) -> &'static str {
    match fault {
        Fault::Guest(_) => "refused",
        Fault::Protocol(_) => "answer",
        Fault::Trap { .. } | Fault::Start(_) => "crash",
        _ => "limit",
    }
}

/// Whoever watches one version of a plugin.
#[derive(Debug)]
pub struct Watch {
    name: String,
    version: String,
    digest: String,
    since: SystemTime,
    breaker: Breaker,
    running: AtomicU64,
    history: Arc<History>,
    metrics: PluginCalls,
}

/// Whom to watch.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The component's digest.
    pub digest: &'a str,
}

/// Makes watches that count together.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    /// What is remembered of all plugins.
    pub histories: Histories,
    /// What is counted.
    pub metrics: PluginCalls,
    /// By which plugins are suspended.
    pub clock: Clock,
}

impl Watches {
    /// Watches a plugin that comes into use.
    #[must_use]
    pub fn watch(&self, of: Watched<'_>, breaker: Settings) -> Arc<Watch> {
        let history = self.histories.of(of.name);
        let watch = Arc::new(Watch {
            name: of.name.to_owned(),
            version: of.version.to_owned(),
            digest: of.digest.to_owned(),
            since: SystemTime::now(),
            breaker: Breaker::new(breaker, self.clock.clone()),
            running: AtomicU64::new(0),
            history: Arc::clone(&history),
            metrics: self.metrics.clone(),
        });
        history.watched(&watch);
        watch
    }
}

impl Watch {
    /// Since when it is in use.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// What suspends it.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// What is remembered of its name.
    #[must_use]
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Calls under way.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    fn failed(&self, subject: String, result: &'static str, message: String) -> Failed {
        Failed {
            at: SystemTime::now(),
            version: self.version.clone(),
            digest: self.digest.clone(),
            subject,
            result,
            message,
        }
    }

    /// A call wants to begin.
    ///
    /// # Errors
    /// [`Suspended`], which is counted.
    pub fn begin(self: &Arc<Self>) -> Result<Call, Suspended> {
        match self.breaker.admit() {
            Ok(permit) => {
                self.running.fetch_add(1, Ordering::Relaxed);
                Ok(Call {
                    watch: Arc::clone(self),
                    permit: Some(permit),
                    begun: Instant::now(),
                    bytes: None,
                })
            }
            Err(suspended) => {
                self.metrics
                    .ended(&self.name, std::time::Duration::ZERO, SUSPENDED);
                self.history.ended(SUSPENDED, None);
                Err(suspended)
            }
        }
    }
}

/// A call under way. Dropped without a word, it says nothing but what went through it.
#[derive(Debug)]
pub struct Call {
    watch: Arc<Watch>,
    permit: Option<Permit>,
    begun: Instant,
    /// Read and written, if it is of a kind that does.
    bytes: Option<(u64, u64)>,
}

impl Call {
    /// It really begins now.
    pub fn restart(&mut self) {
        self.begun = Instant::now();
    }

    /// It works so far: if it is the one that was let try, the others need not wait for its end.
    pub fn works(&mut self) {
        if let Some(permit) = &mut self.permit {
            permit.works();
        }
    }

    /// Bytes that went through it, besides those that were told before. They are counted at its end.
    pub fn bytes(&mut self, read: u64, written: u64) {
        let (before_read, before_written) = self.bytes.unwrap_or_default();
        self.bytes = Some((before_read + read, before_written + written));
    }

    /// It has ended: in the words of the metrics, and what happened to whom if that is worth remembering.
    pub fn end(mut self, result: &'static str, ending: Ending, failure: Option<(String, String)>) {
        let watch = Arc::clone(&self.watch);
        watch.metrics.ended(&watch.name, self.begun.elapsed(), result);
        let failed = failure.map(|(subject, message)| watch.failed(subject, result, message));
        if let (Ending::Crash, Some(Failed { subject, message, .. })) = (ending, &failed) {
            let (plugin, version) = (&watch.name, &watch.version);
            tracing::warn!(plugin, version, subject, error = message, "a plugin has crashed");
        }
        watch.history.ended(result, failed);
        let trips = watch.breaker.view().trips;
        if let Some(permit) = self.permit.take() {
            permit.end(ending);
        }
        let view = watch.breaker.view();
        if view.trips > trips {
            let wait = view.wait.unwrap_or_default();
            tracing::error!(
                plugin = watch.name,
                version = watch.version,
                crashes = view.crashes,
                ?wait,
                "a plugin is suspended: it crashed again and again"
            );
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.watch.running.fetch_sub(1, Ordering::Relaxed);
        if let Some((read, written)) = self.bytes {
            self.watch.metrics.passed(&self.watch.name, read, written);
        }
    }
}
