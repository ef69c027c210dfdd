//! The limits of the command line, each with its reason.

use std::time::Duration;

/// Bytes read and written at a time. A daemon sends blobs in pieces of this size too.
pub(crate) const BLOCK: usize = 1 << 20;

/// Blocks of an ingest that are sent before the first is answered: enough that neither side waits for the other.
pub(crate) const BLOCKS_AHEAD: usize = 4;

/// Bytes that a daemon may send on one stream, and on all, before they are taken. HTTP/2's 64 KiB would make every piece of a
/// blob wait for the one before.
pub(crate) const WINDOW: (u32, u32) = (4 << 20, 8 << 20);

/// Bytes of one frame that a daemon may send: a whole message of a read, so that it is one write and one wake-up.
pub(crate) const FRAME_BYTES: u32 = 2 << 20;

/// How long a reference that another client has locked is asked for again: an ingest that was just cut off is still being
/// closed by the daemon.
pub(crate) const LOCKED: Duration = Duration::from_secs(2);

/// How long what was ingested without a lease of the caller's own is kept by one.
pub(crate) const INGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

/// How long what an unpack or a comparison has made is kept if the command is cut off: longer than any of them takes.
pub(crate) const UNPACK_LEASE: Duration = Duration::from_secs(24 * 3600);

/// How long the lease that sets off a collection would live if its removal failed.
pub(crate) const GC_LEASE: Duration = Duration::from_secs(3600);

/// How deep indexes may be nested in an image. Images have one or two; what refers to itself must end.
pub(crate) const TREE_DEPTH: usize = 8;

/// Blobs that an image is followed to. The largest have some hundreds.
pub(crate) const TREE_NODES: usize = 20_000;

/// How long what is being written is waited for when it is not wanted any more.
pub(crate) const LAST_WRITES: Duration = Duration::from_secs(2);

/// How often it is shown how far blobs are.
pub(crate) const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// Bytes of metrics that are read. A daemon has some ten kilobytes of them.
pub(crate) const METRICS_BYTES: u64 = 4 << 20;

/// How long the metrics are waited for. They are made in a few milliseconds.
pub(crate) const METRICS_WAIT: Duration = Duration::from_secs(5);

/// How long what was handed over is kept if the command is cut off before the daemon has it installed.
pub(crate) const INSTALL_LEASE: Duration = Duration::from_secs(3600);

/// Tags of a repository that are shown when none is a version that is wanted.
pub(crate) const TAGS_SHOWN: usize = 20;

/// Versions that are looked at until one runs here. More than that have been released since this host was.
pub(crate) const VERSIONS_TRIED: usize = 20;

/// How deep an event is decoded into messages within messages.
pub(crate) const EVENT_DEPTH: usize = 16;
