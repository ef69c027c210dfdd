//! Content to frames.

use ruzstd::encoding::{CompressionLevel, FrameCompressor, MatchGeneratorDriver};
use transom_sdk::storage::{Encoder, StorageError};

use crate::table::{Frame, Table};

/// Bytes of content in a frame, but in the last: what has to be decompressed to read one byte.
pub const FRAME: usize = 256 * 1024;

type Compressor = FrameCompressor<std::io::Cursor<Vec<u8>>, Vec<u8>, MatchGeneratorDriver>;

/// Compresses frame by frame.
pub(crate) struct Packer {
    compressor: Compressor,
    pending: Vec<u8>,
    table: Table,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self {
            compressor: FrameCompressor::new(CompressionLevel::Fastest),
            pending: Vec::new(),
            table: Table::default(),
        }
    }

    fn frame(&mut self, kept: &mut Vec<u8>) {
        let content = std::mem::take(&mut self.pending);
        let length = content.len() as u32;
        let before = kept.len();
        self.compressor.set_source(std::io::Cursor::new(content));
        self.compressor.set_drain(std::mem::take(kept));
        self.compressor.compress();
        *kept = self.compressor.take_drain().unwrap_or_default();
        self.table.0.push(Frame {
            kept: (kept.len() - before) as u32,
            content: length,
        });
    }
}

impl Encoder for Packer {
    fn write(&mut self, mut content: &[u8], kept: &mut Vec<u8>) -> Result<(), StorageError> {
        while !content.is_empty() {
            let (now, rest) = content.split_at(content.len().min(FRAME - self.pending.len()));
            self.pending.extend_from_slice(now);
            content = rest;
            if self.pending.len() == FRAME {
                self.frame(kept);
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, kept: &mut Vec<u8>) -> Result<(), StorageError> {
        if !self.pending.is_empty() {
            self.frame(kept);
        }
        self.table.write(kept)
    }
}
