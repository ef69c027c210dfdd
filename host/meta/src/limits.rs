//! The limits of metadata, each with its reason.

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
