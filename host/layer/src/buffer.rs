//! Buffers that go round: a chunk's memory returns to its pool when the last reader drops it.
//!
//! Without the pool every chunk is a fresh mapping, whose page faults cost as much as hashing it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::limits::{CHUNK_BYTES, POOL_BUFFERS};

/// Where buffers of [`CHUNK_BYTES`] wait. Clones share them.
#[derive(Clone, Default)]
pub struct Pool {
    free: Arc<Mutex<Vec<Box<[u8]>>>>,
}

impl Pool {
    /// An empty pool.
    pub fn new() -> Pool {
        Pool::default()
    }

    /// A buffer of [`CHUNK_BYTES`] with arbitrary content.
    pub fn take(&self) -> Buffer {
        let reused = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let memory = reused.unwrap_or_else(|| vec![0; CHUNK_BYTES].into_boxed_slice());
        Buffer {
            memory,
            len: 0,
            pool: self.clone(),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// A chunk in the making: filled from the front, then frozen into shared [`Bytes`].
pub struct Buffer {
    memory: Box<[u8]>,
    len: usize,
    pool: Pool,
}

impl Buffer {
    /// The part not yet filled.
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.memory[self.len..]
    }

    /// Says that the first `count` bytes of [`Buffer::spare`] were filled.
    pub fn advance(&mut self, count: usize) {
        debug_assert!(
            self.len + count <= self.memory.len(),
            "advanced past the end of a buffer"
        );
        self.len = (self.len + count).min(self.memory.len());
    }

    /// Bytes filled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is filled.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.len == self.memory.len()
    }

    /// Copies as much as fits and says how much that was.
    pub fn fill_from(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.memory.len() - self.len);
        self.spare()[..count].copy_from_slice(&bytes[..count]);
        self.advance(count);
        count
    }

    /// The filled part as shared bytes; the memory goes back to the pool with the last of them.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < POOL_BUFFERS {
            free.push(memory);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_last_reader_drops_it() {
        let pool = Pool::new();
        let mut buffer = pool.take();
        let address = buffer.spare().as_ptr();
        assert_eq!(buffer.fill_from(b"hello"), 5);
        let first = buffer.freeze();
        let second = first.slice(1..3);
        drop(first);
        assert_eq!(&second[..], b"el");
        assert_ne!(pool.take().spare().as_ptr(), address, "still read");
        drop(second);
        let taken: Vec<Buffer> = (0..3).map(|_| pool.take()).collect();
        assert!(
            taken
                .into_iter()
                .any(|mut buffer| buffer.spare().as_ptr() == address)
        );
    }
}
