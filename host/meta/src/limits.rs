//! The limits of metadata, each with its reason.

use std::time::Duration;

/// Longest key and value of one label together, in bytes; containerd's, so that what is stored here can be stored there.
pub const LABEL_BYTES: usize = 4096;

/// Longest namespace in bytes; containerd's.
pub const NAMESPACE_BYTES: usize = 76;

/// Longest name of an image, a lease, an ingest or a snapshot in bytes: what containerd's database takes as a key.
pub const NAME_BYTES: usize = 32_768;

/// How often a transaction is tried again after another one changed what it had read. Each try means that another
/// request got through; whoever loses this often is told to try again, instead of holding its connection for ever.
pub const TRIES: u32 = 256;

/// Records read at a time when a whole range is walked: large enough that the cost of a call does not matter, small
/// enough that a page of large records stays in a few megabytes.
pub const PAGE: usize = 512;

/// Changes that a store keeps for a watcher that is slow; one that misses more is told so and reads again.
pub const WATCH_CHANGES: usize = 1024;

/// Transactions that wait for the writer of a store at the same time; more wait before they are handed over. Each holds
/// its writes in memory.
pub const KV_QUEUE: usize = 4096;

/// Bytes of keys and values that one flush takes at most (one transaction may be larger): a batch is in memory twice.
pub const KV_BATCH_BYTES: usize = 8 << 20;

/// Memory that an embedded store may use for its pages, in bytes. The pages of 10,000 images and blobs fit.
pub const KV_CACHE_BYTES: usize = 16 << 20;

/// How long a transaction that may be lost waits for a flush when no other one brings it.
pub const KV_EVENTUAL_FLUSH: Duration = Duration::from_secs(1);

/// Free space of the disk below which metadata takes only transactions that delete something: the embedded stores do not
/// recover by themselves from a write that the disk refuses, and deleting needs space, too.
pub const KV_RESERVE_BYTES: u64 = 16 << 20;

/// On a small disk the reserve is this part of it.
pub const KV_RESERVE_PART: u64 = 16;

/// Bytes of one filter. The longest name can be asked for, with quotes and escapes.
pub const FILTER_BYTES: usize = 64 << 10;

/// Filters in one request. Clients ask for a page of names this way; each is tried on every record.
pub const FILTER_TEXTS: usize = 4096;

/// Selectors in all filters of one request: the work on one record.
pub const FILTER_SELECTORS: usize = 8192;

/// Regular expressions in all filters of one request; each may take [`FILTER_PATTERN_BYTES`] twice.
pub const FILTER_PATTERNS: usize = 64;

/// Memory of one compiled regular expression, and of what is remembered while it runs.
pub const FILTER_PATTERN_BYTES: usize = 1 << 20;

/// Records that a filter plugin is asked about at a time. A call costs about a microsecond, a record less.
pub const FILTER_BATCH: usize = 1024;

/// Bytes of a filter that an error shows before and after the place: a status message must fit into a header.
pub const FILTER_ERROR_BYTES: usize = 1024;

/// Events that wait for one subscriber, in bytes of memory: some 100,000, so that a burst (a collection, a big prune) does
/// not end a subscription, and a subscriber that reads nothing cannot take the memory of the daemon.
pub const EVENT_QUEUE_BYTES: usize = 32 << 20;

/// What an event, and each of its labels, is counted with besides its texts: the parts that hold them.
pub const EVENT_BYTES: usize = 64;

/// Events that a subscriber takes from its queue at a time: plugins are asked about many at once.
pub const EVENT_BATCH: usize = 256;

/// Objects that the collector removes in one exclusive step at most. Some milliseconds of an embedded store.
pub const GC_BATCH: usize = 256;

/// The fewest: what a commit of an embedded store costs by itself does not become less with fewer, and a run of many small
/// steps stops writers for longer in all.
pub const GC_BATCH_LEAST: usize = 32;

/// How long an exclusive step of the collector should take; after a longer one, the next ones remove less.
pub const GC_HOLD: Duration = Duration::from_millis(2);

/// Objects whose references the collector follows before it lets others work: some hundred microseconds.
pub const GC_BUDGET: usize = 4096;

/// Objects touched by transactions that the collector reads again within an exclusive step; more are read outside of one.
pub const GC_TOUCHED: usize = 64;

/// How often it does that before it reads all of them within a step: then transactions touch more than it can read.
pub const GC_ROUNDS: u32 = 16;

/// Snapshots without a record that are removed from a snapshotter at a time: they share its flushes.
pub const SNAPSHOT_REMOVALS: usize = 32;

/// Problems that a check lists one by one; further ones are only counted. The report is kept in memory, and nobody reads more.
pub const FSCK_FINDINGS: usize = 1000;

/// Before a ref that is being written is tried again for the first time. Each further pause is twice as long.
pub const REF_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause of [`REF_PAUSE`]: about half a second in all, as containerd 1.6 waits. Its clients open a ref again right
/// after they closed it, and take a refusal for an answer.
pub const REF_PAUSE_MAX: Duration = Duration::from_millis(256);

/// How often the lock of a metadata store is tried again before somebody else counts as its holder, [`KV_LOCK_PAUSE`] apart.
pub const KV_LOCK_TRIES: u32 = 20;

/// The pause between two tries of [`KV_LOCK_TRIES`].
pub const KV_LOCK_PAUSE: Duration = Duration::from_millis(5);
