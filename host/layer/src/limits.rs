//! What a layer may cost on its way, and why.

/// Bytes of one chunk between stages. 64 to 256 KiB keep two chunks in a core's second-level cache; at 1 MiB the
/// WASM boundary halves its rate.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Chunks that wait in front of one stage. With [`CHUNK_BYTES`] this bounds a pipe at 2 MiB, which is enough for the
/// stages to run side by side on two cores.
pub const PIPE_CHUNKS: usize = 8;

/// Chunks of the blob that wait in front of the first stage: reading is so much faster than what follows that few are enough.
pub const BLOB_CHUNKS: usize = 3;

/// A blob of at most so many bytes goes through its stages on one thread: waking another one costs some 30 µs, and each
/// stage would need two. What it becomes may be large; then other threads help as soon as a pipe is full.
pub const SMALL_BLOB_BYTES: u64 = 64 << 10;

/// Idle threads kept for the next layer: those of eight layers with a plugin each. What a burst needed beyond them ends.
pub const IDLE_THREADS: usize = 40;

/// Buffers that a pool keeps for the next chunk, rather than give them back to the allocator.
pub const POOL_BUFFERS: usize = PIPE_CHUNKS + BLOB_CHUNKS;

/// Stages in one chain. Real chains have one to three; more is a handler that answers its own output.
pub const STAGES_MAX: usize = 16;

/// Output bytes of one layer, by default. The largest layers in use are machine-learning models of some 100 GiB.
pub const OUTPUT_BYTES_MAX: u64 = 256 << 30;

/// Output bytes for each byte of the blob, by default. Deflate cannot exceed 1,032; real layers stay below 20, and
/// those full of zeroes come near the deflate limit, which [`RATIO_FREE_BYTES`] lets pass while they are small.
pub const OUTPUT_RATIO_MAX: u64 = 200;

/// Output below this is never refused for its ratio: it cannot hurt.
pub const RATIO_FREE_BYTES: u64 = 1 << 30;

/// Base-2 logarithm of the largest zstd window taken: 128 MiB, what the format recommends decoders to take and what
/// every level below `--long=28` needs.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bytes of all zstd windows of the process together: the largest one that is taken, or a dozen of usual ones. With this an
/// image of any kind is unpacked in less than 150 MiB.
pub const WINDOWS_BYTES: u64 = 1 << ZSTD_WINDOW_LOG_MAX;

/// A window up to this size waits for nobody: what every level but the highest makes, and RFC 8878 asks all decoders to take.
pub const WINDOW_FREE_BYTES: u64 = 8 << 20;

/// Bytes of an external program's stderr kept for the error message; the newest count.
pub const STDERR_BYTES_MAX: usize = 16 * 1024;

/// What a layer may put out before it is refused as a decompression bomb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Bytes that any stage may put out for one layer.
    pub bytes: u64,
    /// Bytes that any stage may put out for each byte of the blob, once it is past [`RATIO_FREE_BYTES`].
    pub ratio: u64,
}

impl Default for OutputLimits {
    fn default() -> Self {
        OutputLimits {
            bytes: OUTPUT_BYTES_MAX,
            ratio: OUTPUT_RATIO_MAX,
        }
    }
}
