//! The limits of notifications, each with its reason.

use std::time::Duration;

/// Events that wait for an endpoint when nothing is said: some 100 MB on disk.
pub const QUEUE_EVENTS: u64 = 100_000;

/// Largest event in bytes. One that is larger, because a manifest refers to thousands of others, is told without what it refers to.
pub const EVENT_BYTES: usize = 256 << 10;

/// Events of one request. They are told in order, and again if the request fails: more would repeat too much.
pub const BATCH_EVENTS: usize = 50;

/// Bytes of the events of one request; one event may be larger. Receivers take a megabyte by default.
pub const BATCH_BYTES: usize = 512 << 10;

/// First wait after a request that failed. It doubles up to the endpoint's `backoff`.
pub const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Bytes of an answer that are read, so that the connection can be used again. A receiver has nothing to say.
pub const ANSWER_BYTES: usize = 64 << 10;

/// Longest name of an endpoint in bytes: it is in the key of each event.
pub const NAME_BYTES: usize = 100;

/// Endpoints: each has a task, and each event is stored for each.
pub const ENDPOINTS: usize = 32;

/// Events that are looked at a time when a queue is opened and counted.
pub const PAGE: usize = 512;
