//! Documents that a processor makes of a layer beside its bytes: a bill of materials, a report.

use std::io;

use crate::IoError;

#[cfg(target_arch = "wasm32")]
use crate::guest::documents as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::documents as host;

/// Bytes that go to the host in one call.
const PIECE: usize = 256 << 10;

/// A document that is being written: [`io::Write`], and [`finish`](Document::finish) at the end. It counts when the processor lets the
/// layer be used. In tests, [`Run::documents`](crate::testing::Run::documents) has what was made.
#[derive(Debug)]
pub struct Document {
    host: host::Document,
    buffer: Vec<u8>,
}

impl Document {
    /// Begins a document of a media type, with annotations, whose keys are in reverse domain notation. A layer may have 16.
    pub fn new(media_type: &str, annotations: &[(&str, &str)]) -> Self {
        let annotations = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Self {
            host: host::begin(media_type, annotations),
            buffer: Vec::new(),
        }
    }

    /// Hands over what is still held back.
    ///
    /// # Errors
    ///
    /// [`IoError::Limit`] when the documents of the layer are more than 32 MiB.
    pub fn finish(mut self) -> io::Result<()> {
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() && !host::write(&self.host, &self.buffer) {
            let text = "the documents of a layer may have 32 MiB";
            return Err(IoError::Limit(text.to_owned()).into());
        }
        self.buffer.clear();
        Ok(())
    }
}

impl io::Write for Document {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
