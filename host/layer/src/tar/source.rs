//! Where the bytes of a tar come from.

use std::error::Error;
use std::fmt;

use bytes::Bytes;

/// A stream of chunks of any size, pulled by its reader.
pub trait ChunkSource {
    /// Gives the next chunk, `None` at the end of the stream. An empty chunk is not the end.
    ///
    /// # Errors
    /// Whatever keeps the stream from going on: an input error, a stage that failed before, a cancelled job.
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError>;
}

/// Why a source could not go on: any error, kept as it is.
pub struct SourceError(Box<dyn Error + Send + Sync>);

impl SourceError {
    /// Wraps `error`.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// The error as the source gave it, for a caller that knows its type.
    pub fn into_inner(self) -> Box<dyn Error + Send + Sync> {
        self.0
    }

    /// The error as the source gave it.
    pub fn inner(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.as_ref()
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// The whole stream in one chunk: for tests, and for tars that are in memory anyway.
impl ChunkSource for Option<Bytes> {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        Ok(self.take())
    }
}

/// Chunks that are already there, in order.
impl ChunkSource for std::vec::IntoIter<Bytes> {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        Ok(self.next())
    }
}
