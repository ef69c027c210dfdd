//! The limits this store sets, each with its reason.

use std::time::Duration;

/// Longest ref in bytes. containerd keeps refs as keys of its bolt database, which takes keys of up to 32,768
/// bytes; a longer ref could not be carried over, and it would have to be read back whole by every listing.
pub const REF_BYTES: usize = 32_768;

/// Longest `startedat`, `updatedat` or `total` file that is read. The longest valid one has 35 bytes
/// (`2006-01-02T15:04:05.999999999+07:00`); whatever is longer is not ours, and is not read into memory.
pub const SMALL_FILE_BYTES: usize = 64;

/// From how many bytes on a write is hashed on another core: below, waking it costs more than it spares.
pub const PARALLEL_BYTES: usize = 256 << 10;

/// Bytes of an ingest that are kept in memory before it gets a folder: a manifest, a config or a small layer. Writing that many costs
/// less than the folder and its files; and of 1,000 open writers they are 64 MB.
pub const MEMORY_BYTES: usize = 64 << 10;

/// How often a blob of a remote is fetched that others let go before it was opened: each time needs as many copies made in that moment
/// as there is room for.
pub const FETCH_TRIES: usize = 8;

/// Bytes after which the disk is told to begin with what was written: enough for one long write, and little enough that a commit
/// has not much left to flush.
pub const WRITE_BACK_BYTES: u64 = 8 << 20;

/// Bytes read at a time while hashing what is on disk again. One megabyte keeps the per-call costs below one
/// percent, and lets an abort stop a long re-hash within a few milliseconds.
pub const REHASH_CHUNK: usize = 1 << 20;

/// A re-hash at commit that takes longer than this is logged as a warning, as containerd does: it means that a
/// client names its algorithm only at the end, and pays for the blob twice.
pub const SLOW_REHASH: Duration = Duration::from_millis(250);

/// Entries that a sweep's report lists one by one; further ones are only counted. A store can hold as many
/// leftovers as its disk has inodes, and the report is kept in memory.
pub const SWEEP_ENTRIES: usize = 1_000;

/// How often a ref that another process holds is tried again, [`LOCK_PAUSE`] apart, before it counts as locked. A
/// sweep and the last step of a commit hold a ref only for moments, which nobody should be told about.
pub const LOCK_TRIES: u32 = 25;

/// The pause between two tries of [`LOCK_TRIES`].
pub const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// How often removing a folder is tried again when somebody writes into it meanwhile. Each further try needs another
/// write at the same moment; after this many the folder is left to the next sweep.
pub const REMOVE_TRIES: u32 = 64;
