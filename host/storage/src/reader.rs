//! [`Reader`]: content that is being read.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;
use tokio_stream::Stream;

use crate::error::DriverName;
use crate::{Entry, Error, Kind, StoragePath, limits};

/// Chunks of content. The first error ends it.
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Content from an offset on, as a stream of chunks or as a file of this machine.
///
/// It gives exactly [`remaining`](Reader::remaining) bytes, or an error.
pub struct Reader {
    entry: Entry,
    offset: u64,
    source: Source,
}

enum Source {
    File(FileChunks),
    Stream(Chunks),
}

/// A part of a file of this machine, for `sendfile(2)` and its like.
#[derive(Debug)]
pub struct LocalFile {
    /// The file, open for reading. Its cursor may be anywhere.
    pub file: File,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

impl Reader {
    /// A reader of `chunks`, which are what `entry` has from `offset` on.
    #[must_use]
    pub fn from_chunks(entry: Entry, offset: u64, chunks: Chunks) -> Reader {
        Reader {
            entry,
            offset,
            source: Source::Stream(chunks),
        }
    }

    /// A reader of `file` from `offset` on. `driver` is for its errors.
    #[must_use]
    pub fn from_file(driver: DriverName, entry: Entry, offset: u64, file: File) -> Reader {
        let chunks = FileChunks {
            driver,
            path: entry.path.clone(),
            file: Arc::new(file),
            position: offset,
            end: entry.size(),
            reading: None,
        };
        Reader {
            entry,
            offset,
            source: Source::File(chunks),
        }
    }

    /// What is read: its path, whole size, and time.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Bytes of the whole content.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.entry.size()
    }

    /// When the content was written, if that is known.
    #[must_use]
    pub fn modified(&self) -> Option<SystemTime> {
        match self.entry.kind {
            Kind::File { modified, .. } => modified,
            Kind::Folder => None,
        }
    }

    /// Bytes from the offset to the end.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.size().saturating_sub(self.offset)
    }

    /// The file that the bytes are in, if it is on this machine and nothing was read yet; otherwise the reader again.
    ///
    /// # Errors
    /// The reader, which is to be read as a stream.
    pub fn into_file(self) -> Result<LocalFile, Reader> {
        let (offset, length) = (self.offset, self.remaining());
        match self.source {
            Source::File(chunks) if chunks.position == offset => match chunks.into_file() {
                Ok(file) => Ok(LocalFile { file, offset, length }),
                Err(chunks) => Err(Reader {
                    source: Source::File(chunks),
                    ..Reader::hollow(self.entry, offset)
                }),
            },
            source => Err(Reader {
                source,
                ..Reader::hollow(self.entry, offset)
            }),
        }
    }

    /// The same content through `wrap`, which sees every chunk: no longer as a file.
    #[must_use]
    pub fn map_chunks(self, wrap: impl FnOnce(Chunks) -> Chunks) -> Reader {
        let (entry, offset) = (self.entry.clone(), self.offset);
        Reader::from_chunks(entry, offset, wrap(Box::pin(self)))
    }

    /// All that remains.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above `limit` bytes; those of the stream.
    pub async fn collect(mut self, driver: &str, limit: u64) -> Result<Bytes, Error> {
        use tokio_stream::StreamExt;
        let too_large = |path: &StoragePath| Error::TooLarge {
            driver: driver.to_owned().into(),
            path: path.clone(),
            limit,
        };
        if self.remaining() > limit {
            return Err(too_large(&self.entry.path));
        }
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await {
            let chunk = chunk?;
            if (all.len() + chunk.len()) as u64 > limit {
                return Err(too_large(&self.entry.path));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    fn hollow(entry: Entry, offset: u64) -> Reader {
        Reader::from_chunks(entry, offset, Box::pin(tokio_stream::empty()))
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.source {
            Source::File(chunks) => Pin::new(chunks).poll_next(context),
            Source::Stream(chunks) => chunks.as_mut().poll_next(context),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = matches!(self.source, Source::File(_));
        f.debug_struct("Reader")
            .field("entry", &self.entry)
            .field("offset", &self.offset)
            .field("file", &file)
            .finish()
    }
}

/// The chunks of a file, each read by a thread that may wait for a disk.
struct FileChunks {
    driver: DriverName,
    path: StoragePath,
    file: Arc<File>,
    position: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileChunks {
    fn into_file(self) -> Result<File, FileChunks> {
        if self.reading.is_some() {
            return Err(self);
        }
        Arc::try_unwrap(self.file).map_err(|file| FileChunks { file, ..self })
    }

    fn start(&mut self) -> JoinHandle<io::Result<Bytes>> {
        let (file, position) = (Arc::clone(&self.file), self.position);
        let length = (self.end - position).min(limits::READ_CHUNK as u64) as usize;
        tokio::task::spawn_blocking(move || {
            let mut chunk = BytesMut::zeroed(length);
            file.read_exact_at(&mut chunk, position)?;
            Ok(chunk.freeze())
        })
    }
}

impl Stream for FileChunks {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.position >= self.end {
            return Poll::Ready(None);
        }
        let mut reading = self.reading.take().unwrap_or_else(|| self.start());
        let Poll::Ready(done) = Pin::new(&mut reading).poll(context) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        Poll::Ready(Some(match done.map_err(io::Error::other).flatten() {
            Ok(chunk) => {
                self.position += chunk.len() as u64;
                Ok(chunk)
            }
            Err(error) => {
                self.position = self.end;
                Err(Error::io(self.driver.clone(), "read", &self.path, error))
            }
        }))
    }
}

/// Fails if `chunks` give fewer or more bytes than `expected`; for drivers whose connection may end early.
pub(crate) struct Exactly {
    chunks: Chunks,
    driver: DriverName,
    path: StoragePath,
    expected: u64,
    ended: bool,
}

impl Exactly {
    pub(crate) fn new(chunks: Chunks, driver: DriverName, path: StoragePath, expected: u64) -> Exactly {
        Exactly {
            chunks,
            driver,
            path,
            expected,
            ended: false,
        }
    }

    fn end(&mut self, what: &str) -> Error {
        self.ended = true;
        Error::Damaged {
            driver: self.driver.clone(),
            path: self.path.clone(),
            reason: format!("the store gave {what} bytes than it announced"),
        }
    }
}

impl Stream for Exactly {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.chunks.as_mut().poll_next(context));
        Poll::Ready(match next {
            None if self.expected > 0 => Some(Err(self.end("fewer"))),
            None => None,
            Some(Ok(chunk)) => match self.expected.checked_sub(chunk.len() as u64) {
                Some(rest) => {
                    self.expected = rest;
                    Some(Ok(chunk))
                }
                None => Some(Err(self.end("more"))),
            },
            Some(Err(error)) => {
                self.ended = true;
                Some(Err(error))
            }
        })
    }
}
