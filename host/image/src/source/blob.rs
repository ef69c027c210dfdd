//! A blob being read: a stretch of a file that any number of readers share.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A blob's bytes, from the first one on. Every reader has its own position.
pub trait BlobReader: Read + Send + fmt::Debug {
    /// The blob's length in bytes; reading yields exactly so many or fails.
    fn size(&self) -> u64;
}

/// A stretch of a file, read by position so that the file's own offset is left alone.
#[derive(Clone, Debug)]
pub struct Extent {
    file: Arc<File>,
    offset: u64,
    size: u64,
    position: u64,
}

impl Extent {
    /// The `size` bytes from `offset` on.
    pub fn new(file: Arc<File>, offset: u64, size: u64) -> Extent {
        Extent {
            file,
            offset,
            size,
            position: 0,
        }
    }
}

impl Read for Extent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self
            .file
            .read_at(&mut buffer[..wanted], self.offset + self.position)?;
        if read == 0 {
            let message = "the file became shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.position += read as u64;
        Ok(read)
    }
}

impl BlobReader for Extent {
    fn size(&self) -> u64 {
        self.size
    }
}
