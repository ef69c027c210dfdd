//! The limits of this client, each with its reason. What a registry says is a stranger's word.

use std::time::Duration;

/// The longest name of a repository without its host. Registries keep names in columns and file names of 255 bytes.
pub const REPOSITORY_BYTES: usize = 255;

/// The longest name of a host with its port. A name in DNS has at most 253 bytes.
pub const HOST_BYTES: usize = 262;

/// Bytes of a `hosts.toml`. The largest in use have a few kilobytes.
pub const HOSTS_FILE_BYTES: u64 = 1 << 20;

/// Bytes of a certificate or key file. A bundle of all public authorities has 220 kB.
pub const CERTIFICATE_FILE_BYTES: u64 = 4 << 20;

/// Bytes of a `config.json` or `auth.json`. Each registry takes some hundred.
pub const CREDENTIALS_FILE_BYTES: u64 = 4 << 20;

/// Bytes that a credential helper may print. Tokens of cloud registries have some kilobytes.
pub const HELPER_BYTES: u64 = 256 << 10;

/// How long a credential helper may take. Some ask a person to unlock a key ring.
pub const HELPER_TIME: Duration = Duration::from_secs(120);

/// Bytes of a token server's answer. Tokens that list a hundred repositories have some ten kilobytes.
pub const TOKEN_BYTES: usize = 1 << 20;

/// How long a token without `expires_in` is good; the token specification's own default.
pub const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// The longest life that a token is believed to have; past it, a new one costs one request.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long before its end a token is no longer used: it has to arrive, and clocks differ. At most a tenth of its life.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(10);

/// Tokens that are kept for one host. Each set of scopes has one; a mirror of everything would gather them without end.
pub const TOKENS: usize = 1_000;

/// Scopes that a challenge may name, and actions of each. Registries name one or two.
pub const SCOPES: usize = 16;

/// How often one request is sent again because the registry did not like its token. Once for a token that was withdrawn, once
/// for one that lacks a scope.
pub const LOGINS: usize = 2;

/// Bytes of an error's body that are read, to find the registry's message.
pub const ERROR_BYTES: usize = 64 << 10;

/// Characters of a stranger's message that an error repeats.
pub const MESSAGE_CHARS: usize = 300;

/// Bytes of one page of tags or repositories. A page of 1,000 of the longest tags has 130 kB; registries that know no
/// pages send all at once.
pub const PAGE_BYTES: usize = 16 << 20;

/// Pages that a list may have. With 100 entries each, a million.
pub const PAGES: usize = 10_000;

/// Redirects that one request follows. Registries need one, a storage behind a distribution network two.
pub const REDIRECTS: usize = 5;

/// How long making a connection may take, containerd's default.
pub const CONNECT: Duration = Duration::from_secs(30);

/// How long a registry may send (or take) nothing in the middle of an answer (or an upload) before it counts as dead.
/// A whole answer may take as long as it likes.
pub const STALL: Duration = Duration::from_secs(60);

/// The longest `Retry-After` that is waited for. Whoever is told to come back later than that wants to know it now.
pub const RETRY_AFTER: Duration = Duration::from_secs(120);

/// How long a mirror that could not be reached is asked last: each layer would wait for its time-out again.
pub const SHUN: Duration = Duration::from_secs(60);

/// Bytes that have to arrive between two cuts for the count of failures to begin anew. A server that cuts each connection
/// after a few bytes would keep a client busy for ever.
pub const PROGRESS_BYTES: u64 = 256 << 10;

/// Bytes of one piece of a blob that is fetched in several pieces at once. Large enough that a request's delay does not
/// count, small enough that four of them are little memory.
pub const PIECE_BYTES: u64 = 4 << 20;

/// Pieces of one blob that are fetched at once.
pub const PIECES: usize = 4;

/// Bytes of pieces that all downloads of a client may hold together.
pub const PIECES_MEMORY: u64 = 64 << 20;

/// Blobs that are fetched at once, as many as containerd and docker fetch.
pub const DOWNLOADS: usize = 3;

/// What one of them takes of the room for all, if it is large.
pub const DOWNLOAD_UNITS: u32 = 6;

/// A blob takes a unit for each so many bytes: of small ones six times as many are fetched at once, for they are mostly delay.
pub const DOWNLOAD_UNIT_BYTES: u64 = 1 << 20;

/// Addresses of its own that a blob is tried from. Those of others than the registry are strangers, and each may stall.
pub const BLOB_URLS: usize = 4;

/// The largest blob that is uploaded in one PUT, where a cut means to start over.
pub const MONOLITHIC_BYTES: u64 = 16 << 20;

/// Bytes that are read at once from what is uploaded.
pub const UPLOAD_CHUNK: usize = 256 << 10;

/// The largest chunk that a registry may ask for by `OCI-Chunk-Min-Length`. The largest part of S3 has 5 GiB.
pub const CHUNK_MIN_MAX: u64 = 5 << 30;

/// Flow control of one HTTP/2 stream: what a server may send unasked. With a delay of 50 ms, 40 MB/s for each stream.
pub const HTTP2_STREAM_BYTES: u32 = 2 << 20;

/// The same for a connection: room for sixteen streams that are not being read, so that they do not stop the others.
pub const HTTP2_CONNECTION_BYTES: u32 = 32 << 20;

/// Bytes that are gathered before they are written to a content store in one call.
pub const STORE_BATCH: usize = 1 << 20;

/// The first pause while another process has an ingest open; it doubles.
pub const BUSY_FIRST: Duration = Duration::from_millis(20);

/// The longest pause of that kind.
pub const BUSY_LONGEST: Duration = Duration::from_secs(1);

/// How long another process may have an ingest open without writing to it. It may be waiting for a slow registry.
pub const BUSY_IDLE: Duration = Duration::from_secs(300);

/// How deep indexes may be nested in an image. Images have one or two; what refers to itself must end.
pub const TREE_DEPTH: usize = 8;

/// Blobs that an image is followed to. The largest have some hundreds.
pub const TREE_NODES: usize = 20_000;
