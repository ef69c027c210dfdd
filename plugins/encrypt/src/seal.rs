//! Content to what is kept.

use transom_sdk::storage::{Encoder, Key, StorageError};

use crate::form::{CHUNK, MAGIC, place};

/// Seals content in chunks.
pub(crate) struct Sealer {
    key: Box<dyn Key>,
    /// Content that is not sealed yet: a whole chunk may still be the last.
    pending: Vec<u8>,
    chunk: u64,
    begun: bool,
}

impl Sealer {
    pub(crate) fn new(key: Box<dyn Key>) -> Self {
        Self {
            key,
            pending: Vec::new(),
            chunk: 0,
            begun: false,
        }
    }

    fn begin(&mut self, kept: &mut Vec<u8>) {
        if !self.begun {
            kept.extend_from_slice(&MAGIC);
            kept.extend_from_slice(&self.key.token());
            self.begun = true;
        }
    }

    fn seal(&mut self, content: &[u8], last: bool, kept: &mut Vec<u8>) -> Result<(), StorageError> {
        kept.extend(self.key.seal(&place(self.chunk, last), content)?);
        self.chunk += 1;
        Ok(())
    }
}

impl Encoder for Sealer {
    fn write(&mut self, mut content: &[u8], kept: &mut Vec<u8>) -> Result<(), StorageError> {
        self.begin(kept);
        while self.pending.len() + content.len() > CHUNK {
            let (now, rest) = content.split_at(CHUNK - self.pending.len());
            content = rest;
            if self.pending.is_empty() {
                self.seal(now, false, kept)?;
            } else {
                let mut whole = std::mem::take(&mut self.pending);
                whole.extend_from_slice(now);
                self.seal(&whole, false, kept)?;
            }
        }
        self.pending.extend_from_slice(content);
        Ok(())
    }

    fn finish(mut self: Box<Self>, kept: &mut Vec<u8>) -> Result<(), StorageError> {
        self.begin(kept);
        let last = std::mem::take(&mut self.pending);
        self.seal(&last, true, kept)
    }
}
