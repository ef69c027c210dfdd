//! Calls counted and timed, for whoever shows metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::intercept::{Action, Call, Intercepted, Interceptor};
use crate::driver::Pending;
use crate::{Error, StorageDriver};

/// Is told of every call that ended.
pub trait Observe: Send + Sync + std::fmt::Debug + 'static {
    /// A call took so long and ended so. `written` are the bytes that it wrote if it succeeded.
    fn called(&self, action: Action, took: Duration, error: Option<&Error>, written: u64);
}

#[derive(Debug)]
struct Metrics(Arc<dyn Observe>);

/// `inner` with an observer.
#[must_use]
pub fn observed(inner: Arc<dyn StorageDriver>, observer: Arc<dyn Observe>) -> Arc<dyn StorageDriver> {
    Arc::new(Intercepted::new(inner, Arc::new(Metrics(observer))))
}

impl Interceptor for Metrics {
    fn once<'a, T: Send + 'a>(&'a self, call: Call<'a>, run: Pending<'a, T>) -> Pending<'a, T> {
        Box::pin(async move {
            let begin = Instant::now();
            let result = run.await;
            self.0
                .called(call.action, begin.elapsed(), result.as_ref().err(), call.bytes);
            result
        })
    }
}

/// An observer that adds up.
#[derive(Debug, Default)]
pub struct Counters {
    actions: [Counter; Action::ALL.len()],
    written: AtomicU64,
}

#[derive(Debug, Default)]
struct Counter {
    calls: AtomicU64,
    errors: AtomicU64,
    nanoseconds: AtomicU64,
}

/// What was counted of one action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Calls that ended.
    pub calls: u64,
    /// Those of them that failed; an answer that nothing is there is no failure.
    pub errors: u64,
    /// The time they took together.
    pub took: Duration,
}

impl Counters {
    /// What was counted of an action.
    #[must_use]
    pub fn count(&self, action: Action) -> Count {
        let counter = &self.actions[action as usize];
        Count {
            calls: counter.calls.load(Ordering::Relaxed),
            errors: counter.errors.load(Ordering::Relaxed),
            took: Duration::from_nanos(counter.nanoseconds.load(Ordering::Relaxed)),
        }
    }

    /// Bytes that were put and written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

impl Observe for Counters {
    fn called(&self, action: Action, took: Duration, error: Option<&Error>, written: u64) {
        let counter = &self.actions[action as usize];
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        counter.calls.fetch_add(1, Ordering::Relaxed);
        counter.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        match error {
            None => drop(self.written.fetch_add(written, Ordering::Relaxed)),
            Some(error) if error.is_not_found() => {}
            Some(_) => drop(counter.errors.fetch_add(1, Ordering::Relaxed)),
        }
    }
}
