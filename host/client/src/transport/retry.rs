//! When to try again.

use std::time::Duration;

use super::wire::Trouble;
use crate::{Error, limits};

/// How often and how fast something is tried again. The pause doubles each time; a random part of it is left out, so that
/// many clients do not come back together.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// How often a request is sent at most.
    pub tries: u32,
    /// The pause before the second try.
    pub first: Duration,
    /// The longest pause, if the registry does not ask for another.
    pub longest: Duration,
    /// The longest pause that a registry may ask for (`Retry-After`).
    pub longest_asked: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            tries: 5,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(15),
            longest_asked: limits::RETRY_AFTER,
        }
    }
}

impl Retry {
    /// Never again.
    pub const NEVER: Retry = Retry {
        tries: 1,
        first: Duration::ZERO,
        longest: Duration::ZERO,
        longest_asked: Duration::ZERO,
    };

    pub(crate) fn start(&self) -> Backoff {
        Backoff {
            retry: *self,
            failed: 0,
        }
    }

    /// The pause after so many failures, before chance takes its part.
    fn pause(&self, failed: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// The tries of one request.
#[derive(Debug)]
pub(crate) struct Backoff {
    retry: Retry,
    failed: u32,
}

impl Backoff {
    /// Something worked: the count begins anew.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }

    /// Waits until the next try, or gives the error if there is none.
    pub(crate) async fn wait(&mut self, trouble: Trouble) -> Result<(), Error> {
        let (error, after) = match trouble {
            Trouble::Never(error) => return Err(error),
            Trouble::Again { error, after } => (error, after),
        };
        self.failed += 1;
        let too_long = after.is_some_and(|after| after > self.retry.longest_asked);
        if self.failed >= self.retry.tries || too_long {
            return Err(error);
        }
        let pause = after.unwrap_or_else(|| {
            let pause = self.retry.pause(self.failed);
            // Between a half and the whole of it.
            pause.mul_f64(0.5 + fastrand::f64() / 2.0)
        });
        tracing::debug!(%error, tries = self.failed, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let retry = Retry::default();
        let pauses: Vec<u128> = (1..8).map(|failed| retry.pause(failed).as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
        assert_eq!(retry.pause(u32::MAX), retry.longest);
    }
}
