//! A part of a file of this machine, read in large pieces into a few buffers that are used again and again.
//!
//! What the system has in memory is read at once, without another thread; only what must come from a disk is waited for
//! elsewhere. Where the kernel sends, it need not be read at all; what must come from a disk is brought into memory before.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use super::kernel::Outgoing;
use crate::limits;

/// Buffers of a part: one is on its way to the socket while the next one is filled.
const BUFFERS: usize = 2;

/// What is left of a part of a file.
pub(super) struct FilePart {
    file: Arc<File>,
    position: u64,
    left: u64,
    buffers: Vec<Arc<Vec<u8>>>,
    reading: Option<Reading>,
    warming: Option<JoinHandle<io::Result<()>>>,
}

/// A read on another thread: the buffer, and how much is in it.
type Reading = JoinHandle<io::Result<(Arc<Vec<u8>>, usize)>>;

/// A buffer on its way: when it is sent, only the part has it again.
struct Sent {
    buffer: Arc<Vec<u8>>,
    length: usize,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl FilePart {
    pub(super) fn new(file: Arc<File>, position: u64, left: u64) -> FilePart {
        FilePart {
            file,
            position,
            left,
            buffers: Vec::new(),
            reading: None,
            warming: None,
        }
    }

    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next piece, or what stands for it where the kernel sends; `None` at the end.
    pub(super) fn poll(
        &mut self,
        kernel: Option<&Outgoing>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match kernel {
            Some(kernel) if self.left >= limits::SENT_BY_KERNEL_LEAST => {
                self.poll_kernel(kernel, context).map(Some)
            }
            _ => self.poll_read(context),
        }
    }

    /// Leaves a piece to the kernel, when it is in memory: this thread must not wait for a disk.
    fn poll_kernel(&mut self, kernel: &Outgoing, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let length = self.left.min(limits::SENT_BY_KERNEL as u64);
        if self.warming.is_none() && !self.is_warm(length) {
            let (file, position) = (Arc::clone(&self.file), self.position);
            self.warming = Some(tokio::task::spawn_blocking(move || warm(&file, position, length)));
        }
        if let Some(warming) = &mut self.warming {
            let warmed = ready!(Pin::new(warming).poll(context));
            self.warming = None;
            warmed.map_err(io::Error::other).flatten()?;
        }
        let bytes = kernel.stand_in(&self.file, self.position, length as usize);
        self.position += bytes.len() as u64;
        self.left -= bytes.len() as u64;
        Poll::Ready(Ok(bytes))
    }

    /// Whether the ends of the next piece are in memory, and so most likely all of it.
    fn is_warm(&self, length: u64) -> bool {
        [self.position, self.position + length - 1]
            .iter()
            .all(|&position| {
                let mut byte = [0];
                let slices = &mut [IoSliceMut::new(&mut byte)];
                preadv2(&self.file, slices, position, ReadWriteFlags::NOWAIT) == Ok(1)
            })
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.reading.is_none() {
            let mut buffer = self.buffer();
            match self.read_now(&mut buffer) {
                Ok(Some(length)) => return Poll::Ready(Some(Ok(self.taken(buffer, length)))),
                Ok(None) => self.reading = Some(self.read_elsewhere(buffer)),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        Poll::Ready(Some(match read.map_err(io::Error::other).flatten() {
            Ok((buffer, length)) => Ok(self.taken(buffer, length)),
            Err(error) => Err(error),
        }))
    }

    /// A buffer that nobody else has.
    fn buffer(&mut self) -> Arc<Vec<u8>> {
        let free = self
            .buffers
            .iter()
            .position(|buffer| Arc::strong_count(buffer) == 1);
        match free {
            Some(free) => self.buffers.swap_remove(free),
            None => Arc::new(vec![0; self.next_length()]),
        }
    }

    fn next_length(&self) -> usize {
        self.left.min(limits::DOWNLOAD_CHUNK as u64) as usize
    }

    /// Reads what is in memory; `None` if that is nothing.
    fn read_now(&self, buffer: &mut Arc<Vec<u8>>) -> io::Result<Option<usize>> {
        let length = self.next_length();
        let Some(buffer) = Arc::get_mut(buffer).and_then(|buffer| buffer.get_mut(..length)) else {
            return Ok(None);
        };
        let slices = &mut [IoSliceMut::new(buffer)];
        match preadv2(&self.file, slices, self.position, ReadWriteFlags::NOWAIT) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => Ok(Some(read)),
            // Not there yet, or not a file system that can say so.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn read_elsewhere(&self, buffer: Arc<Vec<u8>>) -> Reading {
        let (file, position, length) = (Arc::clone(&self.file), self.position, self.next_length());
        let mut buffer = buffer;
        tokio::task::spawn_blocking(move || {
            let bytes = Arc::make_mut(&mut buffer);
            bytes.resize(bytes.len().max(length), 0);
            file.read_exact_at(&mut bytes[..length], position)?;
            Ok((buffer, length))
        })
    }

    fn taken(&mut self, buffer: Arc<Vec<u8>>, length: usize) -> Bytes {
        self.position += length as u64;
        self.left -= length as u64;
        if self.left > 0 && self.buffers.len() < BUFFERS {
            self.buffers.push(Arc::clone(&buffer));
        }
        Bytes::from_owner(Sent { buffer, length })
    }
}

/// Has the system read a part of a file into its memory.
fn warm(file: &File, position: u64, length: u64) -> io::Result<()> {
    const AT_A_TIME: usize = 64 << 10;
    let mut buffer = vec![0; AT_A_TIME];
    let end = position + length;
    let mut position = position;
    while position < end {
        let most = (end - position).min(AT_A_TIME as u64) as usize;
        match file.read_at(&mut buffer[..most], position)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => position += read as u64,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::kernel::stands_in;
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn a_part_is_read_to_its_end_and_not_further() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..3 * limits::DOWNLOAD_CHUNK as u32 + 11)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        file.write_all(&content).unwrap();
        let file = Arc::new(file);
        for (first, length) in [
            (0, content.len()),
            (5, 1),
            (7, limits::DOWNLOAD_CHUNK),
            (100, 600_000),
        ] {
            let mut part = FilePart::new(Arc::clone(&file), first as u64, length as u64);
            let mut read = Vec::new();
            while let Some(chunk) = std::future::poll_fn(|context| part.poll(None, context)).await {
                read.extend_from_slice(&chunk.unwrap());
            }
            assert!(read == content[first..first + length], "{first} {length}");
        }
    }

    #[tokio::test]
    async fn the_kernel_gets_large_pieces_and_the_rest_is_read() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10 << 20).unwrap();
        let (file, outgoing) = (Arc::new(file), Outgoing::default());
        let length = 2 * limits::SENT_BY_KERNEL as u64 + 100;
        let mut part = FilePart::new(file, 77, length);
        let mut pieces = Vec::new();
        while let Some(piece) = std::future::poll_fn(|context| part.poll(Some(&outgoing), context)).await {
            let piece = piece.unwrap();
            pieces.push((stands_in(&piece), piece.len()));
        }
        let whole = (true, limits::SENT_BY_KERNEL);
        assert_eq!(pieces, [whole, whole, (false, 100)]);
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut part = FilePart::new(Arc::clone(&file), 0, 1);
        let chunk = std::future::poll_fn(|context| part.poll(None, context)).await;
        assert!(chunk.unwrap().is_err());
        let mut part = FilePart::new(file, 0, 1 << 20);
        let outgoing = Outgoing::default();
        let chunk = std::future::poll_fn(|context| part.poll(Some(&outgoing), context)).await;
        assert!(chunk.unwrap().is_err());
    }
}
