//! The limits of this crate, each with its reason.

use std::time::Duration;

/// Longest path in bytes. S3 takes keys of 1024 bytes; this leaves room for a root prefix and for the suffix of content
/// that is not committed. The longest path of a registry's layout has about 600.
pub const PATH_BYTES: usize = 900;

/// Longest part of a path in bytes. File systems take names of 255 bytes; this leaves room for the same suffix.
pub const PART_BYTES: usize = 240;

/// Bytes of a refused path that its error repeats: it may be as long as a request.
pub const SHOWN_BYTES: usize = 128;

/// Bytes read from a file at a time while it is streamed. Large enough that the hand-over between threads costs less than
/// the copy, small enough that a thousand slow readers need a quarter of a gigabyte at most.
pub const READ_CHUNK: usize = 256 << 10;

/// Bytes of an upload after which the disk is told to begin. A disk writes them in a few hundredths of a second, so that a flush has
/// not much left to wait for.
pub const WRITE_BACK_BYTES: u64 = 8 << 20;

/// Bytes of the filesystem driver's journal: what 2,000 clients write in a burst, and what a start reads at most after a power cut.
pub const JOURNAL_BYTES: u64 = 8 << 20;

/// Largest record of the journal, whose bytes are written twice: beyond this the second time costs more than the second wait.
pub const JOURNAL_RECORD_BYTES: u64 = 64 << 10;

/// How long records of the journal are in use. Another process that comes waits so long at most; each end costs one wait for the
/// disk, which nobody is held up by.
pub const JOURNAL_BURST: Duration = Duration::from_millis(200);

/// How long others have to come in between two bursts.
pub const JOURNAL_PAUSE: Duration = Duration::from_millis(2);

/// How long a process waits to come in. A burst ends in the time of a flush; who holds the door longer has been stopped.
pub const JOURNAL_DOOR: Duration = Duration::from_secs(30);

/// How often it looks: within the pause, so that it gets in at the next one.
pub const JOURNAL_DOOR_RETRY: Duration = Duration::from_micros(500);

/// How long the journal takes it that others whom it has seen are still in the folder. They stay for seconds (a collection of garbage) or
/// for good, and a look reads the folder `~transom` while all who put something small wait.
pub const JOURNAL_COMPANY: Duration = Duration::from_secs(1);

/// How often a path is resolved again when somebody renames its folders meanwhile (the kernel says so rather than follow a
/// moved folder out of the root). Each further try needs another rename at the same moment.
pub const RESOLVE_TRIES: u32 = 64;

/// How often a file or folder is made again when somebody removes its parent meanwhile.
pub const MAKE_TRIES: u32 = 64;

/// Bytes that the memory driver holds when nothing is said. It is for tests and for small caches; a machine that serves
/// more names the number.
pub const MEMORY_BYTES: u64 = 1 << 30;

/// Largest object that one request copies: S3's limit. Larger ones are read and written again.
pub const COPY_BYTES: u64 = 5 << 30;

/// Parts of an upload: S3's limit. With the default part of 10 MiB an object has at most 97 GiB; `chunksize` raises it.
pub const PARTS: usize = 10_000;

/// Keys of an object store that a walk holds at a time, of 200 bytes each. Below this a walk costs one request for each
/// thousand keys; above it, folders are walked one by one.
pub const WALK_KEYS: usize = 100_000;

/// Keys that are deleted at a time: what S3 takes in one request.
pub const DELETE_KEYS: usize = 1000;

/// Bytes of a part of an upload to S3 or Azure when nothing is said: docker-registry's.
pub const S3_PART: u64 = 10 << 20;

/// The same for Google: docker-registry's.
pub const GCS_PART: u64 = 16 << 20;

/// Smallest part that S3 takes, but for the last.
pub const S3_PART_MIN: u64 = 5 << 20;

/// Largest part: every upload holds two in memory. S3 would take 5 GiB.
pub const PART_MAX: u64 = 1 << 30;

/// How long a connection to an object store may take to come about.
pub const CONNECT: Duration = Duration::from_secs(10);

/// How long an object store may be silent in the middle of an answer before the connection counts as dead.
pub const SILENCE: Duration = Duration::from_secs(60);

/// How often a request to an object store is tried again when it says so or the connection breaks.
pub const REQUEST_TRIES: usize = 4;

/// No further try after this time.
pub const REQUEST_TIME: Duration = Duration::from_secs(60);

/// Drivers that stand on each other. Each costs a future and a look at the path for each call; more is a mistake.
pub const STACK: usize = 16;

/// Calls that the filesystem driver does at the same time: docker-registry's number, and its least one.
pub const THREADS: u64 = 100;

/// See [`THREADS`].
pub const THREADS_MIN: u64 = 25;

/// Longest wait between two tries of a call. A caller with a request of its own open does not wait longer.
pub const RETRY_WAIT: Duration = Duration::from_secs(10);

/// Largest content that a cache may be told to keep: `get` is for what is small.
pub const CACHED_OBJECT_MAX: u64 = 64 << 20;

/// Bytes that an answer in a cache counts with besides its path and content.
pub const CACHED_ANSWER: u64 = 128;

/// Bytes of a file with a secret: a private key has some thousands.
pub const SECRET_BYTES: u64 = 64 << 10;

/// How long ago the last change of a folder must be, before the next one has another time for certain: ten ticks of the slowest
/// clock that Linux can be built with.
pub const STAMP_AFTER: Duration = Duration::from_millis(100);

/// The same on a file system that keeps whole seconds only.
pub const STAMP_AFTER_SECONDS: Duration = Duration::from_secs(2);
