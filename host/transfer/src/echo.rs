//! Bytes from one stream to another as they are: with it a client sees that both streams work.

use crate::bytes::{ByteSink, ByteSource, StreamError};

/// Passes on everything.
///
/// # Errors
/// Those of the two streams.
pub async fn echo(source: &mut dyn ByteSource, sink: &mut dyn ByteSink) -> Result<(), StreamError> {
    while let Some(bytes) = source.next().await? {
        sink.send(bytes).await?;
    }
    Ok(())
}
