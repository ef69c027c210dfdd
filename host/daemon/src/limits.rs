//! The limits of the daemon, each with its reason. Those of messages are `transom_api::limits`, those of records `transom_meta::limits`.

use std::time::Duration;

/// Largest configuration file in bytes: a thousand times a full one.
pub const CONFIG_BYTES: usize = 4 << 20;

/// The most that a setting of "how many at once" may be: each takes a thread while it works.
pub const AT_ONCE: usize = 4096;

/// Write streams open at once by default. Each holds a file, a hasher and at most two messages; containerd's clients open
/// one for each layer that they pull.
pub const WRITERS: usize = 512;

/// Read streams at work at once by default; more wait. Each has up to three chunks in memory.
pub const READERS: usize = 128;

/// Layers applied and mounts compared at once by default; more wait. Each has four threads and more, and up to 2 MiB in
/// every pipe between them; no disk is faster with more.
pub const DIFFS: usize = 32;

/// Bytes of one message of a read; containerd's.
pub const READ_CHUNK_BYTES: usize = 1 << 20;

/// A read of at most so many bytes is answered at once, on the thread of the request, if the system has them in memory:
/// clients that copy through a small buffer ask for every buffer on its own, and a change of threads costs as much as the read.
pub const SMALL_READ_BYTES: usize = 128 << 10;

/// Chunks of a read that are made before the client has taken the last one: the disk reads while the socket sends.
pub const READ_AHEAD: usize = 2;

/// Objects in one message of a list; containerd's.
pub const LIST_PAGE: usize = 100;

/// Messages of a list that are made before the client has taken the last one.
pub const LIST_AHEAD: usize = 2;

/// Bytes that a client may send on one stream before it has to wait: two of the largest writes that clients make.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// The same for all streams of a connection together: a client that uploads several layers at once shares one.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Streams of one connection at once: a client with more opens another connection.
pub const STREAMS: u32 = 1024;

/// Bytes of answers that are gathered before they are written: a few frames of HTTP/2, and what a socket takes at once.
pub const GATHERED_WRITE_BYTES: usize = 64 << 10;

/// A buffer of answers that is larger is given back when it has been written: an idle connection needs none.
pub const KEPT_WRITE_BYTES: usize = 8 << 10;

/// How long to wait when no connection can be accepted, for want of file descriptors for instance.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Threads for files and records: every writer and reader, and room for requests that only look something up.
pub const SPARE_THREADS: usize = 64;

/// When a daemon has started: what clients wait for has come by then, and what has run only for the start is forgotten.
pub const STARTED: Duration = Duration::from_secs(1);

/// How long an idle thread for files and records is kept: short, as each keeps memory.
pub const IDLE_THREAD: Duration = Duration::from_secs(5);

/// Streams of the streaming service in one daemon; each is an open request.
pub const STREAM_IDS: usize = 4096;

/// Longest id of such a stream in bytes.
pub const STREAM_ID_BYTES: usize = 1024;

/// Objects that wait on such a stream in either direction: its protocol has windows of its own.
pub const STREAM_QUEUE: usize = 16;

/// How long somebody who asks for metrics may take to do so.
pub const METRICS_PATIENCE: Duration = Duration::from_secs(10);

/// How long a collector of traces may take to accept some, and to be waited for at the end.
pub const TRACES_PATIENCE: Duration = Duration::from_secs(5);

/// Spans that wait to be sent; more are dropped. At about 500 bytes each this is 8 MB, and a second of the busiest daemon.
pub const TRACES_QUEUE: usize = 16 << 10;

/// How often they are sent, if not enough are there before.
pub const TRACES_DELAY: Duration = Duration::from_secs(1);

/// Connections to the metrics listener at once.
pub const METRICS_CONNECTIONS: usize = 16;

/// How long writers whose clients have gone may take to bring what they have to the disk at the end.
pub const LAST_WRITES: Duration = Duration::from_secs(5);

/// Bytes of an archive that a client may send before it is told more: sixteen of its largest messages, so that it does not wait
/// for every one to be acknowledged.
pub const TRANSFER_WINDOW_BYTES: usize = 1 << 20;

/// Bytes of an archive in one message to a client; containerd's.
pub const TRANSFER_DATA_BYTES: usize = 32 << 10;

/// How long the answer to a transfer waits for a client that does not read what it is told of it.
pub const LAST_EVENTS: Duration = Duration::from_secs(1);

/// Bytes of blobs that all pulls together may hold in memory, to fetch several ranges of one at once.
pub const FETCH_MEMORY: u64 = 32 << 20;

/// How long a client may take to find credentials: a person may have to type them.
pub const CREDENTIALS: Duration = Duration::from_secs(120);

/// How long a blob that was made for a containerd's client is kept there if the client does nothing with it: containerd's own
/// time for what clients forget.
pub const BORROWED_LEASE: Duration = Duration::from_secs(24 * 3600);

/// How long a containerd may take to forget what was begun there.
pub const REMOTE_CLEANUP: Duration = Duration::from_secs(5);

/// Manifests of signatures in one request to install a plugin: one for each who vouches for it.
pub const SIGNATURES: usize = 16;

/// Bytes of the text that says where a plugin came from: a name in a registry, or a path.
pub const SOURCE_BYTES: usize = 1024;

/// Bytes of the list of installed plugins: some hundred for each version of the most there may be, and ten times as many.
pub const RECORD_BYTES: u64 = 8 << 20;

/// Manifests of images of which it is remembered what they refer to, for the registry; each has some hundred bytes a layer.
pub const KNOWN_MANIFESTS: usize = 10_000;

/// Manifests that one image is followed to. The largest indexes list some hundreds.
pub const IMAGE_NODES: usize = 10_000;
