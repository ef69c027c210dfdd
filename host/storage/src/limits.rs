//! The limits of this crate, each with its reason.

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

/// How often a path is resolved again when somebody renames its folders meanwhile (the kernel says so rather than follow a
/// moved folder out of the root). Each further try needs another rename at the same moment.
pub const RESOLVE_TRIES: u32 = 64;

/// How often a file or folder is made again when somebody removes its parent meanwhile.
pub const MAKE_TRIES: u32 = 64;

/// Bytes that the memory driver holds when nothing is said. It is for tests and for small caches; a machine that serves
/// more names the number.
pub const MEMORY_BYTES: u64 = 1 << 30;
