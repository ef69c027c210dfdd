//! Streams of bytes from and to whoever asked for a transfer.

use ::bytes::Bytes;
use transom_meta::kv::Pending;

/// Why a stream did not go on: the other side has gone, or said something that it must not.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the stream ended before its end: {reason}")]
pub struct StreamError {
    /// What happened.
    pub reason: String,
}

/// Where an archive comes from, chunk by chunk.
pub trait ByteSource: Send + 'static {
    /// The next bytes; none at the end. Called again only after it has answered.
    ///
    /// # Errors
    /// [`StreamError`]: the end has not been seen.
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, StreamError>>;
}

/// Where an archive goes, chunk by chunk.
pub trait ByteSink: Send {
    /// Sends bytes; waits until the other side takes them.
    ///
    /// # Errors
    /// [`StreamError`].
    fn send(&mut self, bytes: Bytes) -> Pending<'_, Result<(), StreamError>>;
}

/// Bytes in memory as a source.
impl ByteSource for std::vec::IntoIter<Bytes> {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, StreamError>> {
        Box::pin(std::future::ready(Ok(Iterator::next(self))))
    }
}

/// Memory as a sink.
impl ByteSink for Vec<u8> {
    fn send(&mut self, bytes: Bytes) -> Pending<'_, Result<(), StreamError>> {
        self.extend_from_slice(&bytes);
        Box::pin(std::future::ready(Ok(())))
    }
}
