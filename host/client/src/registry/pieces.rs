//! A blob in several ranges at once, given out in order.
//!
//! The range that comes next is passed on as it arrives; those after it are gathered in memory, as far as there is room for
//! them in all downloads of the client together. Without room there is one stream, as there is when a host knows no ranges. The
//! end of a blob is one stream as well: several ranges at once would all end with the last byte, and whoever makes something of
//! the bytes meanwhile would have most of their work still to do.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use transom_oci::Descriptor;

use super::blob::BlobReader;
use super::client::MEMORY_UNIT;
use super::remote::Remote;
use crate::Error;
use crate::transport::Endpoint;

/// How many ranges the last stream is as long as.
const TAIL: u64 = 2;

/// The bytes of a blob from an offset on. Dropping it ends all its downloads.
#[derive(Debug)]
pub(crate) struct Pieces {
    remote: Remote,
    descriptor: Descriptor,
    /// The range that is passed on as it arrives.
    stream: Option<BlobReader>,
    /// The host of the last such range.
    served_by: Option<Arc<Endpoint>>,
    /// The ranges after it, in their order.
    ahead: VecDeque<Task<Result<Piece, Error>>>,
    /// What is given out of a gathered range.
    ready: Option<Piece>,
    /// Where the next range begins that nobody has asked for yet.
    next: u64,
    parallel: usize,
    size: u64,
}

/// A range in memory, and its part of the room.
#[derive(Debug)]
struct Piece {
    chunks: VecDeque<Bytes>,
    _room: OwnedSemaphorePermit,
}

/// A task that ends with its handle.
#[derive(Debug)]
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context).map(|result| match result {
            Ok(value) => value,
            // Nobody aborts it but our own drop: it panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        })
    }
}

impl Remote {
    /// Reads a blob from an offset on, in several ranges at once where that pays. Digest and size are for the caller to check.
    pub(crate) fn pieces(&self, descriptor: &Descriptor, offset: u64) -> Result<Pieces, Error> {
        let options = &self.client.inner.options;
        let size = options.piece_bytes.max(MEMORY_UNIT);
        let left = descriptor.size - offset;
        // Two ranges at least before the end, or it is not worth a second request.
        let parallel = match left >= (2 + TAIL) * size {
            true => options.pieces,
            false => 1,
        };
        let end = if parallel > 1 {
            offset + size
        } else {
            descriptor.size
        };
        Ok(Pieces {
            remote: self.clone(),
            descriptor: descriptor.clone(),
            stream: Some(self.part(descriptor, offset, end)?),
            served_by: None,
            ahead: VecDeque::new(),
            ready: None,
            next: end,
            parallel,
            size,
        })
    }
}

impl Pieces {
    /// The next bytes; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(chunk) = self.ready.as_mut().and_then(|piece| piece.chunks.pop_front()) {
                return Ok(Some(chunk));
            }
            self.ready = None;
            if let Some(stream) = &mut self.stream {
                // Whether there are ranges at all shows with the first answer.
                let ranges = stream.prepare().await?;
                if ranges {
                    self.ask_ahead()?;
                } else if self.ahead.is_empty() {
                    self.everything();
                }
                if let Some(chunk) = self.stream_chunk().await? {
                    return Ok(Some(chunk));
                }
                self.served_by = self.stream.take().map(|stream| Arc::clone(stream.host()));
            }
            if let Some(mut task) = self.ahead.pop_front() {
                let piece = (&mut task).await?;
                self.ready = Some(piece);
                self.ask_ahead()?;
            } else if self.next < self.descriptor.size {
                let end = self.end_after(self.next);
                self.stream = Some(self.remote.part(&self.descriptor, self.next, end)?);
                self.next = end;
            } else {
                return Ok(None);
            }
        }
    }

    /// The host whose bytes came is asked last for a while.
    pub(crate) fn distrust(&self) {
        if let Some(host) = &self.served_by {
            host.shun();
        }
    }

    async fn stream_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.stream {
            Some(stream) => stream.chunk().await,
            None => Ok(None),
        }
    }

    /// The host sends the whole blob whatever it is asked for: then the one stream is all there is.
    fn everything(&mut self) {
        self.parallel = 1;
        self.next = self.descriptor.size;
        if let Some(stream) = &mut self.stream {
            stream.extend(self.descriptor.size);
        }
    }

    /// Where the last stream begins.
    fn tail(&self) -> u64 {
        self.descriptor.size.saturating_sub(TAIL * self.size)
    }

    fn end_after(&self, start: u64) -> u64 {
        match self.parallel > 1 && start < self.tail() {
            true => (start + self.size).min(self.tail()),
            false => self.descriptor.size,
        }
    }

    /// Asks for further ranges while there is room for them.
    fn ask_ahead(&mut self) -> Result<(), Error> {
        while self.ahead.len() + 1 < self.parallel && self.next < self.tail() {
            let end = self.end_after(self.next);
            let Some(room) = room(&self.remote.client.inner.shared.memory, end - self.next) else {
                return Ok(());
            };
            let mut reader = self.remote.part(&self.descriptor, self.next, end)?;
            self.next = end;
            self.ahead.push_back(Task(tokio::spawn(async move {
                let mut chunks = VecDeque::new();
                while let Some(chunk) = reader.chunk().await? {
                    chunks.push_back(chunk);
                }
                Ok(Piece { chunks, _room: room })
            })));
        }
        Ok(())
    }
}

fn room(memory: &Arc<Semaphore>, bytes: u64) -> Option<OwnedSemaphorePermit> {
    let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT)).ok()?;
    Arc::clone(memory).try_acquire_many_owned(units).ok()
}
