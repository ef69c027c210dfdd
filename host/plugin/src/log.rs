//! What guests log: lines of limited length, so many for each job, and so many a second for all jobs of a plugin.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::breaker::Clock;
use crate::limits::{LOG_BURST, LOG_LINE_BYTES_MAX, LOG_LINES_PER_SECOND};

/// How many lines all jobs of one plugin may log: a bucket that fills by [`LOG_LINES_PER_SECOND`] up to [`LOG_BURST`]. Clones are
/// the same one.
#[derive(Clone)]
pub(crate) struct LogRate {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    bucket: Mutex<Bucket>,
    dropped: AtomicU64,
}

struct Bucket {
    left: u64,
    /// When the lines that are left were counted.
    at: Instant,
}

impl Default for LogRate {
    fn default() -> Self {
        LogRate::by(Clock::default())
    }
}

impl LogRate {
    /// A full bucket, by a clock.
    fn by(clock: Clock) -> LogRate {
        let bucket = Bucket {
            left: LOG_BURST,
            at: clock.now(),
        };
        LogRate {
            inner: Arc::new(Inner {
                clock,
                bucket: Mutex::new(bucket),
                dropped: AtomicU64::new(0),
            }),
        }
    }

    /// Takes a line out, if there is one.
    fn take(&self) -> bool {
        let now = self.inner.clock.now();
        let mut bucket = self.inner.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.at);
        let gained = passed.as_millis() as u64 * LOG_LINES_PER_SECOND / 1000;
        if gained > 0 {
            bucket.left = bucket.left.saturating_add(gained).min(LOG_BURST);
            // What is less than a line counts the next time.
            let counted = Duration::from_millis(gained * 1000 / LOG_LINES_PER_SECOND);
            bucket.at += counted;
            if bucket.left == LOG_BURST {
                bucket.at = now;
            }
        }
        let Some(left) = bucket.left.checked_sub(1) else {
            return false;
        };
        bucket.left = left;
        true
    }

    fn dropping(&self, lines: u64) {
        self.inner.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// The lines that were dropped, for this rate or for the limits of their jobs.
    pub(crate) fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for LogRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogRate")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// The guest's log in one job, under its limits.
#[derive(Debug)]
pub(crate) struct Log {
    plugin: String,
    version: String,
    layer: String,
    left: u32,
    rate: LogRate,
    dropped: u64,
    last_error: Option<String>,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Log {
    pub(crate) fn new(plugin: &str, version: &str, layer: &str, lines: u32, rate: LogRate) -> Self {
        Self {
            plugin: plugin.to_owned(),
            version: version.to_owned(),
            layer: layer.to_owned(),
            left: lines,
            rate,
            dropped: 0,
            last_error: None,
        }
    }

    /// Whose log it is.
    pub(crate) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// The log of a guest that only says what it is.
    pub(crate) fn of_unknown(lines: u32) -> Self {
        Log::new("not yet known", "", "", lines, LogRate::default())
    }

    pub(crate) fn line(&mut self, level: Level, message: &str) {
        let message = cut(message);
        if level == Level::Error {
            self.last_error = Some(message.to_owned());
        }
        let left = self.left.checked_sub(1).filter(|_| self.rate.take());
        let Some(left) = left else {
            self.dropped += 1;
            return;
        };
        self.left = left;
        let Self {
            plugin,
            version,
            layer,
            ..
        } = self;
        match level {
            Level::Trace => {
                tracing::trace!(target: "transom::plugin", %plugin, %version, %layer, "{message}");
            }
            Level::Debug => {
                tracing::debug!(target: "transom::plugin", %plugin, %version, %layer, "{message}");
            }
            Level::Info => tracing::info!(target: "transom::plugin", %plugin, %version, %layer, "{message}"),
            Level::Warn => tracing::warn!(target: "transom::plugin", %plugin, %version, %layer, "{message}"),
            Level::Error => {
                tracing::error!(target: "transom::plugin", %plugin, %version, %layer, "{message}");
            }
        }
    }

    /// The last error that was logged, after the end of the job.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            self.rate.dropping(dropped);
            // One line for each job would be a flood as well.
            if self.rate.take() {
                let Self {
                    plugin,
                    version,
                    layer,
                    ..
                } = &*self;
                tracing::warn!(target: "transom::plugin", %plugin, %version, %layer, "{dropped} more log lines were dropped");
            }
        }
        self.last_error.take()
    }
}

/// The start of a text, as long as a log line may be.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOG_LINE_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::tests::Hand;

    #[test]
    fn a_flood_of_lines_is_cut_to_the_rate_of_its_plugin() {
        let hand = Hand::default();
        let rate = LogRate::by(hand.clock());
        let mut first = Log::new("a", "1.0.0", "x", u32::MAX, rate.clone());
        for _ in 0..LOG_BURST + 7 {
            first.line(Level::Trace, "x");
        }
        first.line(Level::Error, "the reason");
        assert_eq!(first.finish().as_deref(), Some("the reason"), "it is still known");
        assert_eq!(rate.dropped(), 8);
        // Another job of the same plugin has no lines of its own.
        let mut second = Log::new("a", "1.0.0", "y", u32::MAX, rate.clone());
        second.line(Level::Trace, "x");
        hand.pass(Duration::from_secs(1));
        for _ in 0..LOG_LINES_PER_SECOND + 1 {
            second.line(Level::Trace, "x");
        }
        second.finish();
        assert_eq!(rate.dropped(), 10);
        // What comes in small steps adds up as well.
        for _ in 0..10 {
            hand.pass(Duration::from_millis(15));
            rate.take();
        }
        assert!(!rate.take() || LOG_LINES_PER_SECOND > 66);
        hand.pass(Duration::from_secs(3600));
        assert!((0..LOG_BURST).all(|_| rate.take()) && !rate.take());
    }

    #[test]
    fn a_job_has_its_own_limit_too() {
        let rate = LogRate::default();
        let mut log = Log::new("a", "1.0.0", "x", 3, rate.clone());
        for _ in 0..5 {
            log.line(Level::Trace, "x");
        }
        log.finish();
        assert_eq!(rate.dropped(), 2);
    }
}
