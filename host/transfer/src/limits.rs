//! What a stranger's archive or image may cost, and why. Those of single documents are `transom_oci::limits`, those of
//! an archive's members `transom_image::limits`.

/// Transfers at work at once; more wait. Each has a thread, and the chunks below in memory.
pub const TRANSFERS: usize = 32;

/// Bytes that are handed to a writer, or read from a blob, at a time: large enough that the change of threads costs nothing.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Chunks between a client and the thread that takes an archive apart, and between that and the writers.
pub const CHUNKS_AHEAD: usize = 8;

/// Blobs of one import that are made durable while later ones arrive. Their flushes share what a disk does for one.
pub const COMMITS: usize = 8;

/// Bytes that a compressed archive may become. The largest images have some hundred gigabytes; a small file of zeros would
/// otherwise fill the disk.
pub const DECOMPRESSED_BYTES: u64 = 512 << 30;

/// A file of a docker archive up to this size is kept in memory until the archive says whether it is part of an image:
/// configurations are, and old archives have two small files for every layer that are not.
pub const SMALL_FILE_BYTES: u64 = 64 << 10;

/// All of those files of one import together; further ones are written at once.
pub const SMALL_FILES_BYTES: u64 = 8 << 20;

/// Bytes after an archive's end that are still read, so that whoever sends it can finish: tar programs fill up their last
/// record, 10 KiB by default and at most 1 MiB.
pub const TRAILING_BYTES: u64 = 1 << 20;

/// Labels by which one manifest or index keeps its children, all in one record.
pub const CHILDREN: usize = 16_384;

/// How often an image that others make and remove meanwhile is tried to be saved.
pub const SAVE_TRIES: u32 = 16;

/// How long the lease of a transfer keeps what it has, should the daemon end before the transfer does; containerd's.
pub const LEASE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// How long what a failed pull has fetched is kept for the next try.
pub const PULL_KEPT: std::time::Duration = std::time::Duration::from_secs(3600);

/// Bytes of a download that are gathered while the ones before them are written. Beyond that the download waits.
pub const FETCH_BATCH: usize = 1 << 20;

/// Bytes for which a write is worth its change of threads.
pub const FETCH_BATCH_LEAST: usize = 256 << 10;

/// Bytes of a label with its key, as metadata allow.
pub const LABEL_BYTES: usize = 4096;

/// Repositories that a registry is asked to take a blob from before it is uploaded: each is a request.
pub const MOUNTS: usize = 4;

/// What of an image verifier's output is kept; containerd's.
pub const VERIFIER_OUTPUT_BYTES: u64 = 32 << 10;

/// Names given to images in one request: each is a record.
pub const REFERENCES: usize = 4096;

/// Layers that are unpacked at once, for all transfers together, where the machine has more processors than that.
pub const UNPACKS: usize = 8;

/// Layers that are unpacked while they arrive, beside those: as many as are fetched at once, and one that has just come. They wait
/// for the network most of the time.
pub const UNPACKS_ALONG: usize = 4;

/// How often an unpack prepares a snapshot again that others committed and removed meanwhile; containerd's.
pub const PREPARE_TRIES: u32 = 3;

/// Bytes of a blob after which an export tells how far it is.
pub const PROGRESS_BYTES: u64 = 4 << 20;

/// How long the processors of an encrypted layer that is unpacked already may take until the first file comes out. Those that
/// ask a key service take a second; one that reads a large blob as a whole before it puts out anything needs more.
pub const AUTHORIZE: std::time::Duration = std::time::Duration::from_secs(120);

/// Manifests and indexes of one image that are looked at for a snapshot of an encrypted one. Images have one for each platform,
/// and as many attestations.
pub const MANIFESTS: usize = 256;
