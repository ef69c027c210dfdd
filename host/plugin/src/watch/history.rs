//! What is remembered of a plugin by its name, whatever its version: how its calls ended, and its last failures.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use crate::limits;

use super::Watch;

/// The histories of a program's plugins. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct Histories {
    by_name: Arc<Mutex<BTreeMap<String, Arc<History>>>>,
}

/// The history of one plugin.
#[derive(Debug, Default)]
pub struct History {
    remembered: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    calls: BTreeMap<&'static str, u64>,
    /// The newest first.
    failures: VecDeque<Failed>,
    /// The versions that were in use, as long as something uses them.
    watches: Vec<Weak<Watch>>,
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// When it ended.
    pub at: SystemTime,
    /// The version that failed.
    pub version: String,
    /// The component's digest.
    pub digest: String,
    /// The layer or the path, if there is one.
    pub subject: String,
    /// In the words of the metrics.
    pub result: &'static str,
    /// What happened.
    pub message: String,
}

impl Histories {
    /// The history of a name, which begins now if there is none.
    #[must_use]
    pub fn of(&self, name: &str) -> Arc<History> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_name.entry(name.to_owned()).or_default())
    }

    /// Forgets the names of which nothing is in use any more.
    pub fn keep(&self, is_used: impl Fn(&str) -> bool) {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.retain(|name, history| is_used(name) || history.running() > 0);
    }
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version comes into use.
    pub(super) fn watched(&self, watch: &Arc<Watch>) {
        let mut remembered = self.lock();
        remembered.watches.retain(|watch| watch.strong_count() > 0);
        remembered.watches.push(Arc::downgrade(watch));
    }

    /// A call has ended.
    pub(super) fn ended(&self, result: &'static str, failed: Option<Failed>) {
        let mut remembered = self.lock();
        *remembered.calls.entry(result).or_default() += 1;
        if let Some(mut failed) = failed {
            let end = failed.message.floor_char_boundary(limits::FAILURE_BYTES);
            failed.message.truncate(end);
            remembered.failures.truncate(limits::FAILURES_KEPT - 1);
            remembered.failures.push_front(failed);
        }
    }

    /// How many calls ended in which way.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.lock().calls.clone()
    }

    /// The last failures, newest first.
    #[must_use]
    pub fn failures(&self) -> Vec<Failed> {
        self.lock().failures.iter().cloned().collect()
    }

    /// Jobs under way that began with another version.
    #[must_use]
    pub fn draining(&self, current: &Watch) -> u64 {
        let watches = self.watches();
        let others = watches.iter().filter(|watch| !std::ptr::eq(&***watch, current));
        others.map(|watch| watch.running()).sum()
    }

    /// Jobs under way, of any version.
    pub(super) fn running(&self) -> u64 {
        self.watches().iter().map(|watch| watch.running()).sum()
    }

    fn watches(&self) -> Vec<Arc<Watch>> {
        self.lock().watches.iter().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failures_are_kept_and_no_more() {
        let history = History::default();
        for at in 0..limits::FAILURES_KEPT + 3 {
            let failed = Failed {
                at: SystemTime::UNIX_EPOCH,
                version: "1.0.0".to_owned(),
                digest: String::new(),
                subject: at.to_string(),
                result: "crash",
                message: "ö".repeat(limits::FAILURE_BYTES),
            };
            history.ended("crash", Some(failed));
        }
        history.ended("ok", None);
        let failures = history.failures();
        assert_eq!(failures.len(), limits::FAILURES_KEPT);
        let newest = (limits::FAILURES_KEPT + 2).to_string();
        assert_eq!(failures[0].subject, newest);
        assert_eq!(failures[0].message.len(), limits::FAILURE_BYTES);
        let expected = BTreeMap::from([("crash", limits::FAILURES_KEPT as u64 + 3), ("ok", 1)]);
        assert_eq!(history.calls(), expected);
    }
}
