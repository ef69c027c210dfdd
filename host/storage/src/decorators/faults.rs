//! Failures on order. For tests only: no configuration can name it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::intercept::{Action, Call, Intercepted, Interceptor};
use crate::driver::Pending;
use crate::{Error, StorageDriver, StoragePath};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// [`Error::Unavailable`], and the call is not made.
    Unavailable {
        /// What the store says.
        retry_after: Option<Duration>,
    },
    /// The call is made, and then [`Error::Unavailable`]: the answer was lost.
    AnswerLost,
    /// [`Error::NoSpace`], and the call is not made.
    NoSpace,
    /// [`Error::Denied`], and the call is not made.
    Denied,
    /// No answer, ever; the call is not made.
    Hang,
}

/// Which calls go wrong.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Calls of this kind; of any if `None`.
    pub action: Option<Action>,
    /// Calls at and below this path; at any if `None`.
    pub at: Option<StoragePath>,
    /// So many of them are left alone first.
    pub after: u64,
    /// So many go wrong then.
    pub times: u64,
    /// How.
    pub fault: Fault,
}

/// The rules of a driver that fails on order, to be changed while it is in use.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
    calls: AtomicU64,
}

impl Faults {
    /// Adds a rule. The first that fits a call decides.
    pub fn add(&self, rule: Rule) {
        self.rules
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(rule);
    }

    /// The next `times` calls of an action go wrong.
    pub fn fail(&self, action: Action, fault: Fault, times: u64) {
        self.add(Rule {
            action: Some(action),
            at: None,
            after: 0,
            times,
            fault,
        });
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn next(&self, call: &Call<'_>) -> Option<Fault> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |rule: &&mut Rule| {
            rule.times > 0
                && rule.action.is_none_or(|action| action == call.action)
                && rule
                    .at
                    .as_ref()
                    .is_none_or(|at| call.path == at || call.path.is_below(at))
        };
        let rule = rules.iter_mut().find(fits)?;
        if rule.after > 0 {
            rule.after -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.fault)
    }
}

/// `inner`, which fails as `faults` say.
#[must_use]
pub fn faulty(inner: Arc<dyn StorageDriver>, faults: Arc<Faults>) -> Arc<dyn StorageDriver> {
    Arc::new(Intercepted::new(inner, faults))
}

impl Interceptor for Faults {
    fn once<'a, T: Send + 'a>(&'a self, call: Call<'a>, run: Pending<'a, T>) -> Pending<'a, T> {
        Box::pin(async move {
            let driver = "faulty".into();
            let path = call.path.clone();
            let unavailable = |retry_after| Error::Unavailable {
                driver: "faulty".into(),
                reason: "as ordered".to_owned(),
                retry_after,
            };
            match self.next(&call) {
                None => run.await,
                Some(Fault::Unavailable { retry_after }) => Err(unavailable(retry_after)),
                Some(Fault::AnswerLost) => run.await.and(Err(unavailable(None))),
                Some(Fault::NoSpace) => Err(Error::NoSpace { driver, path }),
                Some(Fault::Denied) => Err(Error::Denied {
                    driver,
                    path,
                    reason: "as ordered".to_owned(),
                }),
                Some(Fault::Hang) => std::future::pending().await,
            }
        })
    }

    fn again<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Pending<'a, T>
    where
        T: Send + 'a,
        F: Fn() -> Pending<'a, T> + Send + Sync + 'a,
    {
        // Not begun before it is let through.
        self.once(call, Box::pin(async move { run().await }))
    }
}
