//! The limits of the registry, each with its reason. Those of names are in [`names`](crate::names), those of drivers in
//! `transom_storage::limits`.

use std::time::Duration;

/// Bytes of one manifest. The specification asks for 4 MiB at least; no image comes near, artifacts with everything in
/// annotations may. Each one that arrives is held in memory whole, several times while it is read.
pub const MANIFEST_BYTES: u64 = 8 << 20;

/// Bytes of all manifests that arrive at the same time; more wait. A manifest counts with its length, or with
/// [`MANIFEST_BYTES`] if that is not told.
pub const MANIFESTS_ARRIVING: u32 = 64 << 20;

/// Descriptors in one manifest. Each is looked up when it is pushed.
pub const DESCRIPTORS: usize = 20_000;

/// Things that one manifest refers to which are looked up at the same time.
pub const LOOK_UPS: usize = 16;

/// Bytes of the manifests that are kept in memory.
pub const CACHED_MANIFESTS: u64 = 32 << 20;

/// A larger manifest is not kept in memory: it would push out hundreds.
pub const CACHED_MANIFEST: u64 = 1 << 20;

/// Bytes of a link file. The longest digest has 135.
pub const LINK_BYTES: u64 = 256;

/// Bytes of a media type that is kept.
pub const MEDIA_TYPE_BYTES: usize = 255;

/// Tags that one push may set by `?tag=`. The specification asks for 10 at least; each is two files.
pub const TAGS_AT_ONCE: usize = 64;

/// Entries of a page of tags when nothing is said, and at most: 1.3 MB of JSON with the longest names.
pub const TAGS_PAGE: usize = 10_000;

/// Entries of a page of the catalog when nothing is said: docker-registry's.
pub const CATALOG_PAGE: usize = 100;

/// Entries of a page of the catalog at most: docker-registry's.
pub const CATALOG_PAGE_MAX: usize = 1_000;

/// Descriptors of a page of referrers at most. With annotations of a kilobyte, which is a lot, a page stays below a manifest's limit.
pub const REFERRERS_PAGE: usize = 1_000;

/// Uploads whose running hash is kept in memory, of 300 bytes each. One that has no place is read again when it ends.
pub const UPLOADS_HASHED: usize = 10_000;

/// How long a request waits for another one that works on the same upload. A client whose connection broke comes back before
/// its last request has ended here.
pub const UPLOAD_WAIT: Duration = Duration::from_secs(2);

/// How often it looks meanwhile.
pub const UPLOAD_RETRY: Duration = Duration::from_millis(20);

/// Bytes of a body that are gathered before they are handed to the driver. Each hand-over costs a change of threads; an upload
/// holds at most three of them, one on its way to the disk, one full, one filling.
pub const UPLOAD_CHUNK: usize = 256 << 10;

/// Bytes of a body that nobody wants, and that are read all the same so that the connection can go on: as many as Go's
/// servers read.
pub const UNWANTED: u64 = 256 << 10;

/// How long such a body may take.
pub const UNWANTED_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer's body at a time.
pub const DOWNLOAD_CHUNK: usize = 256 << 10;

/// Bytes of a file that the kernel is told to send at a time: what a socket takes at most before it must wait.
pub const SENT_BY_KERNEL: usize = 1 << 20;

/// Bytes of a file from which on the kernel sends them. Fewer go out in one write with the head of the answer.
pub const SENT_BY_KERNEL_LEAST: u64 = 64 << 10;

/// Ranges in one request. A client that fetches parts of a layer asks for hundreds; each costs a read.
pub const RANGES: usize = 1_024;

/// What the least chunk of an upload should have, which `OCI-Chunk-Min-Length` tells clients: nothing is gained by less.
/// Smaller ones are taken all the same. The value is low, because clients with little memory hold a chunk whole.
pub const CHUNK_MIN: u64 = 4 << 10;

/// Bytes of a request's head. Tokens of some issuers have 16 KiB.
pub const HEAD_BYTES: usize = 64 << 10;

/// Lines in a request's head.
pub const HEAD_LINES: usize = 100;

/// How long a client may take to send a head, from the first byte on, and how long a connection may be idle.
pub const HEAD_PATIENCE: Duration = Duration::from_secs(60);

/// How long a client may send nothing in the middle of a body, or take nothing of an answer.
pub const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// How long a TLS handshake may take.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// Connections at once; more wait to be accepted. Each costs a task and a buffer.
pub const CONNECTIONS: usize = 10_000;

/// Bytes that a connection reads ahead. Large bodies come in pieces of this size at most.
pub const READ_BUFFER: usize = 256 << 10;

/// Requests at once on one connection of HTTP/2.
pub const STREAMS: u32 = 250;

/// Bytes that a client may send on one request of HTTP/2 before it has to wait: two chunks, with one on its way.
pub const STREAM_WINDOW: u32 = 1 << 20;

/// The same for a connection.
pub const CONNECTION_WINDOW: u32 = 4 << 20;

/// How long requests that have begun may go on after the signal to stop.
pub const DRAIN: Duration = Duration::from_secs(30);

/// How often the files of certificates are looked at.
pub const TLS_RELOAD: Duration = Duration::from_secs(30);

/// Bytes of a file of certificates or keys.
pub const TLS_FILE: u64 = 4 << 20;

/// How long a redirect to the store works: docker-registry's time.
pub const REDIRECT: Duration = Duration::from_secs(20 * 60);

/// Bytes of a client's text that are repeated in an error or in the log.
pub const SHOWN_BYTES: usize = 256;

/// How long the store may take to say that it is well.
pub const HEALTH_PATIENCE: Duration = Duration::from_secs(10);

/// Connections to the listener for operators at once.
pub const ADMIN_CONNECTIONS: usize = 16;

/// Bytes that an operator's request may have.
pub const ADMIN_BODY: usize = 1 << 10;

/// When an upload that did not end is deleted: docker-registry's time.
pub const UPLOADS_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often such uploads are looked for: docker-registry's time.
pub const UPLOADS_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Repositories whose day is known to be marked as one with uploads. One more costs the writing of an empty object.
pub const MARKED_DAYS: usize = 10_000;

/// Largest configuration file in bytes: a thousand times a full one.
pub const CONFIG_BYTES: usize = 4 << 20;

/// How long what nothing leads to is kept. A push of a large image over a slow line takes hours, and whoever began it yesterday
/// and goes on today should find what was there.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);

/// How long a request may go on with a link that it has seen. None goes on so long between looking and writing.
pub const SETTLE: Duration = Duration::from_secs(10 * 60);

/// Tags in one pair of the index at most: a few kilobytes, which a push writes anew.
pub const INDEX_BLOCK: usize = 256;

/// Tags in each pair when there are too many for one, so that there is room for more.
pub const INDEX_BLOCK_FILL: usize = 160;

/// Tags that a pair has on the average at least. It says how many pairs a page reads ahead, and nothing else.
pub const INDEX_BLOCK_LEAST: usize = 80;

/// Tags of a repository that are kept in the index at most: they are in memory while they are listed, as they are for everybody
/// who asks for them.
pub const INDEX_TAGS: usize = 1_000_000;

/// How often a change of the index is tried again when another one came between. Each try means that another one got through.
pub const INDEX_TRIES: u32 = 64;

/// How long a change that did not end may still come about: no request to a store goes on for so long.
pub const INDEX_SUSPICION: Duration = Duration::from_secs(10 * 60);

/// Repositories with a change that did not end. With more of them the store is not well, and the index of no use.
pub const INDEX_SUSPECTS: usize = 10_000;

/// Folders that one request for the catalog lists before it looks again what is missing.
pub const INDEX_FOLDERS: usize = 64;

/// Repositories that are looked at at the same time while the index is built, beside the requests. Each holds the names of its
/// tags.
pub const INDEX_REPOSITORIES: usize = 4;
