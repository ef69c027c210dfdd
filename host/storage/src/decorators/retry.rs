//! Calls that fail for a moment are made again, after a while that chance decides.
//!
//! Only what may happen twice: nothing that is conditional, moves or deletes, and no part of an upload. Of those a first
//! try may have happened although it failed, and a second would answer something else.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::intercept::{Action, Call, Intercepted, Interceptor};
use crate::driver::Pending;
use crate::{StorageDriver, limits};

/// How often, and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Calls in all.
    pub attempts: u32,
    /// The longest wait before the second call; doubled for each further one, up to [`limits::RETRY_WAIT`]. The wait is
    /// between nothing and this, so that those who failed together do not come back together. A store that names a time
    /// is waited for at least so long.
    pub delay: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            attempts: 5,
            delay: Duration::from_millis(100),
        }
    }
}

#[derive(Debug)]
struct Retry(Policy);

/// `inner` with its temporary failures hidden.
#[must_use]
pub fn retried(inner: Arc<dyn StorageDriver>, policy: Policy) -> Arc<dyn StorageDriver> {
    Arc::new(Intercepted::new(inner, Arc::new(Retry(policy))))
}

fn is_safe(action: Action) -> bool {
    matches!(
        action,
        Action::Get
            | Action::Put
            | Action::PutAll
            | Action::Read
            | Action::OpenWriter
            | Action::Stat
            | Action::List
            | Action::Redirect
            | Action::Walk
    )
}

impl Interceptor for Retry {
    fn once<'a, T: Send + 'a>(&'a self, _: Call<'a>, run: Pending<'a, T>) -> Pending<'a, T> {
        run
    }

    fn again<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Pending<'a, T>
    where
        T: Send + 'a,
        F: Fn() -> Pending<'a, T> + Send + Sync + 'a,
    {
        if !is_safe(call.action) {
            return run();
        }
        Box::pin(async move {
            let mut attempt = 1;
            loop {
                let error = match run().await {
                    Err(error) if error.is_temporary() && attempt < self.0.attempts => error,
                    other => return other,
                };
                let wait = wait(self.0.delay, attempt, retry_after(&error));
                tracing::debug!(action = call.action.name(), path = %call.path, %error, ?wait, "trying again");
                tokio::time::sleep(wait).await;
                attempt += 1;
            }
        })
    }
}

fn retry_after(error: &crate::Error) -> Duration {
    match error {
        crate::Error::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

fn wait(delay: Duration, attempt: u32, least: Duration) -> Duration {
    let most = delay
        .saturating_mul(1 << (attempt - 1).min(16))
        .min(limits::RETRY_WAIT);
    // The hasher's keys are random; that is all that is asked of them.
    let chance = RandomState::new().hash_one(attempt) as f64 / u64::MAX as f64;
    most.mul_f64(chance).max(least.min(limits::RETRY_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_differ_and_end() {
        let delay = Duration::from_millis(100);
        let waits: Vec<_> = (0..100).map(|_| wait(delay, 3, Duration::ZERO)).collect();
        assert!(waits.iter().all(|wait| *wait <= delay * 4));
        assert!(waits.iter().any(|wait| *wait > delay));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        assert!(wait(delay, 40, Duration::ZERO) <= limits::RETRY_WAIT);
        assert!(wait(delay, 1, Duration::from_secs(3)) >= Duration::from_secs(3));
    }
}
