//! Why a tar stream could not be read on.

use super::source::SourceError;

/// Why reading a tar failed; the reader cannot be used after it.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The source of the stream failed; nothing is known to be wrong with the tar.
    #[error("the tar stream could not be read on: {0}")]
    Source(#[source] SourceError),
    /// The bytes are not a tar as Go's `archive/tar` understands it.
    #[error("corrupt tar at byte {offset}: {problem}; the layer is damaged or not a tar")]
    Corrupt {
        /// Where the header in question begins, in bytes from the start of the stream.
        offset: u64,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The stream ended inside a header or inside an entry's data.
    #[error("the tar ends at byte {offset}, in the middle of {part}; the layer is incomplete")]
    Truncated {
        /// How many bytes the stream had.
        offset: u64,
        /// What was being read.
        part: &'static str,
    },
    /// Something in the tar is larger than [`crate::tar::TarLimits`] allows.
    #[error("tar header at byte {offset}: {what} exceed the limit of {limit}")]
    Limit {
        /// Where the header in question begins, in bytes from the start of the stream.
        offset: u64,
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
}
