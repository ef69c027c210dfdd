//! What a plugin may cost, and why.
//!
//! [`Limits`] are per job and can be set for all plugins ([`HostConfig`](crate::HostConfig)), be asked for by a plugin
//! (`[limits]` in `plugin.toml`) and be overridden for one plugin ([`Plugin::with_limits`](crate::Plugin::with_limits)).
//! The constants are fixed.

use std::time::Duration;

/// Bytes of a component. An interpreter inside one, such as Python's, makes 20 MB.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a `plugin.toml`, which a person writes.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// Layers of an artifact that may be a plugin. It has one; other tools may add a few for people.
pub const ARTIFACT_LAYERS_MAX: usize = 32;

/// Signatures of one artifact. Each may be tried with each trusted key.
pub const SIGNATURES_MAX: usize = 64;

/// Bytes of a signed document. It names a digest and says a little about the signer.
pub const SIGNATURE_PAYLOAD_BYTES_MAX: u64 = 64 << 10;

/// Keys of a policy. A few organisations sign what one operator installs.
pub const TRUSTED_KEYS_MAX: usize = 64;

/// Plugins in one folder. A node has some ten.
pub const INSTALLED_MAX: usize = 1000;

/// Bytes of a lock file, or of the list beside it. An entry with its previous version takes a kilobyte.
pub const LOCK_BYTES_MAX: u64 = 4 << 20;

/// Core modules, imports and exports of a component that are looked at. Toolchains make fewer than ten of each.
pub const COMPONENT_ITEMS_MAX: usize = 10_000;

/// Functions on the way from a forbidden import to a function that the author wrote, in a report.
pub const CALL_PATH_MAX: usize = 6;

/// Functions visited in search of that way.
pub const CALL_SEARCH_MAX: usize = 20_000;

/// Time between two looks at a running guest: how late a limit may be noticed. Each look costs about a microsecond.
pub const TICK: Duration = Duration::from_millis(10);

/// Ticks for which the ticker goes on when nothing runs any more.
pub const LINGER: u32 = 10;

/// CPU time that instantiation and `describe` may take together: they only return constants.
pub const DESCRIBE_CPU: Duration = Duration::from_secs(1);

/// CPU time of one call into a label filter: to understand an expression, or to match a batch. A batch takes a millisecond
/// or two; a client waits for many.
pub const FILTER_CPU: Duration = Duration::from_secs(1);

/// Log lines of one call into a label filter.
pub const FILTER_LOG_LINES: u32 = 20;

/// Records in one call of a label filter. The WIT promises it.
pub const FILTER_BATCH_RECORDS: usize = 1024;

/// Text in one call of a label filter with more than one record, in bytes. The WIT promises it; with the guest's own lists it
/// stays far below its memory.
pub const FILTER_BATCH_BYTES: usize = 1 << 20;

/// Instances of a label filter that are kept, with an expression that they have understood, for the next list. Each holds
/// a megabyte or two.
pub const FILTER_INSTANCES_KEPT: usize = 4;

/// Bytes of a label filter's expression in an error.
pub const FILTER_EXPRESSION_SHOWN: usize = 1024;

/// CPU time of one call into a storage driver. Almost every call takes milliseconds; what joins an upload of many pieces works
/// on all of its bytes.
pub const DRIVER_CPU: Duration = Duration::from_secs(60);

/// CPU time of one call into a storage driver in which it moves no byte.
pub const DRIVER_STALL: Duration = Duration::from_secs(10);

/// Time on the clock of one call into a storage driver, with its waits for what it stands on.
pub const DRIVER_WALL: Duration = Duration::from_secs(600);

/// Log lines of one call into a storage driver.
pub const DRIVER_LOG_LINES: u32 = 50;

/// Instances of a storage driver at a time, unless the configuration says another number: each open reader, writer and walk
/// has one. Each holds a megabyte or two, and a thread.
pub const DRIVER_INSTANCES: u64 = 64;

/// The most that a configuration may say.
pub const DRIVER_INSTANCES_MAX: u64 = 256;

/// Instances of a storage driver that are kept for the next call.
pub const DRIVER_INSTANCES_KEPT: usize = 8;

/// How long a call waits for an instance when all are in use.
pub const DRIVER_WAIT: Duration = Duration::from_secs(30);

/// How long a version of a driver that is to take the place of another may take to answer for the first time. Its store may be
/// far away; whoever waits for the change has nothing to lose.
pub const DRIVER_TRIAL: Duration = Duration::from_secs(30);

/// Calls of one instance, after which a fresh one takes its place: what a guest leaks does not add up.
pub const DRIVER_INSTANCE_CALLS: u32 = 100_000;

/// Handles that an instance of a storage driver may hold. The SDK's helpers hold fewer than ten.
pub const DRIVER_HANDLES_MAX: usize = 256;

/// Bytes in lists and texts that a storage driver may pass in one call: whole content, or a page of entries.
pub const DRIVER_CALL_BYTES_MAX: usize = 24 << 20;

/// Bytes of content that a storage driver gets or gives in one piece; the WIT promises it. What is larger is streamed.
pub const DRIVER_WHOLE_BYTES_MAX: u64 = 16 << 20;

/// Bytes of one `write`, to a storage driver and from it: the WIT's limits are this and [`CALL_BYTES_MAX`].
pub const DRIVER_WRITE_BYTES: usize = 256 << 10;

/// Entries in a page of a list or a walk. The WIT promises it.
pub const DRIVER_PAGE: u32 = 1000;

/// Entries in a folder. The list of one is held in memory: 200 MB for this many.
pub const DRIVER_LIST_MAX: usize = 1 << 20;

/// Bytes of a text in an error of a storage driver; the rest is cut off.
pub const DRIVER_TEXT_MAX: usize = 1024;

/// Bytes of a message that is encrypted in one piece. The WIT promises it.
pub const DRIVER_SEAL_MAX: usize = 1 << 20;

/// Random bytes in one call. The WIT promises it.
pub const DRIVER_RANDOM_MAX: u32 = 64 << 10;

/// Headers of a request of a storage driver. The WIT promises it.
pub const DRIVER_HEADERS_MAX: usize = 64;

/// Bytes of one `read`. 256 KiB keep the chunk in the second-level cache; see the released WIT, which promises it.
pub const READ_BYTES_MAX: usize = 256 * 1024;

/// Bytes given to a guest that are remembered in case it writes them back unchanged. A pass-through has one read out at a
/// time; whoever is four ahead is buffering, and remembering more would hold memory that the pipes count as free.
pub const ECHO_BYTES_MAX: usize = 4 * READ_BYTES_MAX;

/// From here on a piece that is written back goes on shared. A smaller one is copied: its hand-over from thread to
/// thread costs more.
pub const ECHO_BYTES_MIN: usize = 32 * 1024;

/// Bytes in lists and texts that a guest may pass in one call: a `write`, or the whole outcome. The released WIT promises
/// this much for a `write`.
pub const CALL_BYTES_MAX: usize = 4 << 20;

/// Bytes that a guest may give to a cipher in one call. The WIT promises it.
pub const CIPHER_BYTES_MAX: usize = 1 << 20;

/// Documents that a job may make. The WIT promises it; one is usual.
pub const DOCUMENTS_MAX: usize = 16;

/// Bytes of all documents of a job, which are held in memory until the layer is done. The WIT promises it. A bill of materials of
/// ten thousand packages has 5 MB.
pub const DOCUMENT_BYTES_MAX: usize = 32 << 20;

/// Bytes of a document in one call. The WIT promises it.
pub const DOCUMENT_WRITE_BYTES_MAX: usize = 1 << 20;

/// Handles a guest may hold. It is given two; a cipher, a code and some documents may come to them.
pub const HANDLES_MAX: usize = 32;

/// Core instances in one component: the guest, its adapters and the shims of the toolchain. Python makes 38: each of its shared
/// libraries is one.
pub const INSTANCES_MAX: usize = 64;

/// Tables in one component.
pub const TABLES_MAX: usize = 32;

/// Elements of a table. A table has one entry for each function whose address is taken.
pub const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Linear memories in one component; together they stay within [`Limits::memory`].
pub const MEMORIES_MAX: usize = 8;

/// The guest's stack. The host's own frames above it need the rest of a thread's usual 2 MiB.
pub const STACK_BYTES: usize = 512 * 1024;

/// Jobs and instances of storage drivers at a time when guests come from the pool; each reserves 4 GiB of addresses, not of
/// memory.
pub const POOL_JOBS: u32 = 512;

/// The largest memory of a guest that the pool can hold, whatever [`Limits::memory`] says.
pub const POOL_MEMORY_MAX: usize = 1 << 30;

/// Bytes of a table that are cleared by hand after a job rather than given back to the kernel. Guests' tables are far
/// smaller.
pub const POOL_TABLE_RESIDENT: usize = 64 << 10;

/// Bytes of a memory that are cleared by hand after a job, of those that it has touched: a small layer's job touches a tenth of
/// this, and each page that the next one must be given anew costs it a microsecond and more.
pub const POOL_MEMORY_RESIDENT: usize = 512 << 10;

/// Memories that are given back to the kernel at a time. Each time interrupts every other core of the process, which for a
/// small layer cost as much as running the guest.
pub const POOL_DECOMMIT_BATCH: usize = 32;

/// Address bits that must be free for the pool to be used.
pub const POOL_ADDRESS_BITS: u32 = 42;

/// Bytes of one log line; the rest is cut off.
pub const LOG_LINE_BYTES_MAX: usize = 4096;

/// Lines a second that all jobs of a plugin together may log, in the long run: a person can follow a few.
pub const LOG_LINES_PER_SECOND: u64 = 50;

/// Lines that they may log at once: as many as one job may.
pub const LOG_BURST: u64 = 1000;

/// Crashes after which a plugin is suspended, within [`BREAKER_WINDOW`] and beyond its jobs that end well. Fewer may be the fault of
/// layers that are made to crash it.
pub const BREAKER_CRASHES: usize = 5;

/// How long a crash counts.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(60);

/// How long a plugin is suspended before one job is let try.
pub const BREAKER_PAUSE: Duration = Duration::from_secs(30);

/// Failures that are remembered of each plugin: enough to see whether they are all of one kind.
pub const FAILURES_KEPT: usize = 16;

/// Bytes of what is said of each: a trap's reason and the start of a panic's message.
pub const FAILURE_BYTES: usize = 4096;

/// Compiled components kept in the cache folder; the newest stay. A host with two hundred plugins, of which some have two versions,
/// must not compile some of them anew at each start; each takes a megabyte or two.
pub const CACHE_FILES_MAX: usize = 512;

/// Bytes of an annotation's key and value, and of each text of a finding. Registries take manifests of 4 MiB.
pub const TEXT_BYTES_MAX: usize = 4096;

/// What one job of a plugin may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of linear memory. 64 MiB hold a decompressor with a large window.
    pub memory: usize,
    /// CPU time of the whole job. An hour is 100 GiB at 30 MB/s.
    pub cpu: Duration,
    /// CPU time without a byte read or written: what an endless loop may take. Real stages do milliseconds of work on
    /// a chunk; ten seconds are for those that work on all of it at the end.
    pub stall: Duration,
    /// Time on the clock, waiting for other stages included. A guest cannot sleep, so this is for a job that crawls.
    pub wall: Duration,
    /// Bytes of output. The layer's own limit holds as well.
    pub output: u64,
    /// Bytes of output for each byte of input, beyond the first 64 MiB. xz reaches 7,000 on zeroes; the layer's own
    /// ratio holds as well.
    pub ratio: u64,
    /// Log lines, of [`LOG_LINE_BYTES_MAX`] each; the rest is counted only.
    pub log_lines: u32,
    /// Findings in an outcome.
    pub findings: usize,
    /// Annotations in an outcome.
    pub annotations: usize,
}

/// Limits that the operator gives to one plugin. They count more than what its manifest asks for, and more than the host's ceiling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsGiven {
    /// Mebibytes of linear memory; at most [`POOL_MEMORY_MAX`].
    pub memory_mib: Option<u32>,
    /// CPU time of a whole job.
    pub cpu: Option<Duration>,
    /// CPU time without a byte read or written.
    pub stall: Option<Duration>,
    /// Time on the clock.
    pub wall: Option<Duration>,
    /// Bytes of output.
    pub output: Option<u64>,
    /// Bytes of output for each byte of input.
    pub ratio: Option<u64>,
    /// Log lines of one job.
    pub log_lines: Option<u32>,
}

impl LimitsGiven {
    /// What was given over what is there.
    #[must_use]
    pub fn over(&self, limits: &Limits) -> Limits {
        let memory = self.memory_mib.map(|mebibytes| (mebibytes as usize) << 20);
        Limits {
            memory: memory.unwrap_or(limits.memory).min(POOL_MEMORY_MAX),
            cpu: self.cpu.unwrap_or(limits.cpu),
            stall: self.stall.unwrap_or(limits.stall),
            wall: self.wall.unwrap_or(limits.wall),
            output: self.output.unwrap_or(limits.output),
            ratio: self.ratio.unwrap_or(limits.ratio),
            log_lines: self.log_lines.unwrap_or(limits.log_lines),
            ..limits.clone()
        }
    }
}

/// Output below this is never refused for its ratio.
pub const RATIO_FREE_BYTES: u64 = 64 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            cpu: Duration::from_secs(3600),
            stall: Duration::from_secs(10),
            wall: Duration::from_secs(6 * 3600),
            output: 256 << 30,
            ratio: 10_000,
            log_lines: 1000,
            findings: 1000,
            annotations: 64,
        }
    }
}
