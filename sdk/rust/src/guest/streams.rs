//! The host's streams as the standard library's.

use std::io::{self, BufRead, Read, Write};

use super::component::bindings::transom::common::io::{Reader, Writer};
use crate::IoError;

/// What is asked of the host in one read, and the most that it gives.
const READ: u32 = 256 * 1024;
/// Small writes are collected up to this.
const BUFFER: usize = 128 * 1024;
/// From here on a write goes to the host as it is: one more call costs less than copying this much.
const DIRECT: usize = 32 * 1024;
/// The most that goes to the host in one call; the interface allows four times as much.
const LARGEST: usize = 1024 * 1024;

/// A reader that holds one chunk from the host.
pub(super) struct Input<'a> {
    host: &'a Reader,
    chunk: Vec<u8>,
    taken: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(host: &'a Reader) -> Self {
        Self {
            host,
            chunk: Vec::new(),
            taken: 0,
        }
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.chunk.len() {
            // Freed first, so that the allocator can give the same memory again.
            self.chunk = Vec::new();
            self.taken = 0;
            self.chunk = self.host.read(READ).map_err(IoError::from)?;
        }
        Ok(&self.chunk[self.taken..])
    }

    fn consume(&mut self, amount: usize) {
        self.taken = self.chunk.len().min(self.taken + amount);
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(buffer)?;
        self.consume(amount);
        Ok(amount)
    }
}

/// A writer that collects small writes and hands on large ones.
pub(super) struct Output<'a> {
    host: &'a Writer,
    buffer: Vec<u8>,
}

impl<'a> Output<'a> {
    pub(super) fn new(host: &'a Writer) -> Self {
        Self {
            host,
            buffer: Vec::new(),
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if self.buffer.is_empty() && bytes.len() >= DIRECT {
            let bytes = &bytes[..bytes.len().min(LARGEST)];
            self.host.write(bytes).map_err(IoError::from)?;
            return Ok(bytes.len());
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.host.write(&self.buffer).map_err(IoError::from)?;
            self.buffer.clear();
        }
        Ok(())
    }
}
