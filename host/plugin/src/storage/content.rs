//! Readers and writers of a guest's. Each has its instance to itself until it is done.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio_stream::Stream;
use transom_storage::error::DriverName;
use transom_storage::{Entry, Error, Kind, Pending, Reader, StoragePath, WriteMode, Writer};
use wasmtime::component::ResourceAny;

use super::driver::Answer;
use super::error::Asked;
use super::pool::{Core, Guest, Lease, Pool};
use crate::limits::{DRIVER_WRITE_BYTES, READ_BYTES_MAX};
use crate::wit::storage_v0_1::types;

/// Opens a reader.
pub(super) async fn read(pool: &Arc<Pool>, path: &StoragePath, offset: u64) -> Result<Reader, Error> {
    let asked = Asked {
        offset,
        ..Asked::new("read", path)
    };
    let mut lease = pool.lease().await?;
    let wanted = path.clone();
    let opened = lease.call(move |guest| {
        let (driver, store) = guest.driver();
        driver.call_read(store, wanted.as_str(), offset)
    });
    let core = &pool.core;
    let opened = opened.await.map_err(|fault| core.fault(&asked, fault))?;
    let content = opened.map_err(|error| core.told(&asked, error))?;
    let size = content.file.size;
    let modified = content.file.modified.map(time).transpose();
    let held = Held::new(lease, content.reader);
    let modified = modified.map_err(|rule| core.broke(&asked, rule))?;
    let Some(left) = size.checked_sub(offset) else {
        let rule = format!("it read from {offset} on of {size} bytes");
        return Err(core.broke(&asked, rule));
    };
    let entry = Entry {
        path: path.clone(),
        kind: Kind::File { size, modified },
    };
    let chunks = GuestChunks {
        asked,
        left,
        core: Arc::clone(core),
        state: Reading::Idle(held),
    };
    Ok(Reader::from_chunks(entry, offset, Box::pin(chunks)))
}

/// A point in time, or the rule that it breaks.
pub(super) fn time(instant: types::Instant) -> Result<SystemTime, String> {
    if instant.nanoseconds >= 1_000_000_000 {
        return Err(format!("it said {} nanoseconds", instant.nanoseconds));
    }
    let (seconds, rest) = (
        Duration::from_secs(instant.seconds.unsigned_abs()),
        Duration::from_nanos(instant.nanoseconds.into()),
    );
    let whole = match instant.seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(seconds),
        false => SystemTime::UNIX_EPOCH.checked_add(seconds),
    };
    whole
        .and_then(|whole| whole.checked_add(rest))
        .ok_or_else(|| format!("it said {} seconds", instant.seconds))
}

/// An instance with a handle of its guest's, which is given back when this is dropped.
pub(super) struct Held {
    lease: Option<Lease>,
    handle: Option<ResourceAny>,
    /// Whether it is a writer.
    writer: bool,
}

impl Held {
    pub(super) fn new(lease: Lease, handle: ResourceAny) -> Held {
        Held {
            lease: Some(lease),
            handle: Some(handle),
            writer: false,
        }
    }

    fn writer(lease: Lease, handle: ResourceAny) -> Held {
        Held {
            writer: true,
            lease: Some(lease),
            handle: Some(handle),
        }
    }

    /// A call with the handle. After a fault there is none any more, and no call is made.
    pub(super) async fn call<T: Send + 'static>(
        &mut self,
        asked: &Asked,
        work: impl FnOnce(&mut Guest, ResourceAny) -> Answer<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (Some(lease), handle) = (&mut self.lease, self.handle.take()) else {
            return Err(finished("plugin".into()));
        };
        let Some(handle) = handle else {
            return Err(finished(lease.core().name()));
        };
        let core = Arc::clone(lease.core());
        let answer = lease.call(move |guest| work(guest, handle)).await;
        let answer = answer.map_err(|fault| core.fault(asked, fault))?;
        self.handle = Some(handle);
        answer.map_err(|error| core.told(asked, error))
    }

    /// The last call with the handle, which the guest takes.
    pub(super) async fn end<T: Send + 'static>(
        mut self,
        asked: &Asked,
        work: impl FnOnce(&mut Guest, ResourceAny) -> Answer<T> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = self.call(asked, work).await;
        self.handle = None;
        answer
    }

    /// Whether there is a handle: no call failed, and none was cut off.
    fn is_good(&self) -> bool {
        self.handle.is_some()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (Some(lease), Some(handle)) = (self.lease.take(), self.handle.take()) {
            lease.release(handle, self.writer);
        }
    }
}

/// A handle was used after the call that failed.
fn finished(driver: DriverName) -> Error {
    Error::Unavailable {
        driver,
        reason: "a call before this one failed".to_owned(),
        retry_after: None,
    }
}

/// The chunks of a guest's reader: exactly as many bytes as it said.
struct GuestChunks {
    core: Arc<Core>,
    asked: Asked,
    left: u64,
    state: Reading,
}

/// A chunk on its way, and the instance that it comes from.
type NextChunk = Pin<Box<dyn Future<Output = (Held, Result<Vec<u8>, Error>)> + Send>>;

enum Reading {
    Idle(Held),
    Busy(NextChunk),
    Done,
}

impl GuestChunks {
    fn next(&self, mut held: Held) -> Reading {
        let asked = self.asked.clone();
        Reading::Busy(Box::pin(async move {
            let chunk = held.call(&asked, |guest, handle| {
                let (driver, store) = guest.driver();
                driver.reader().call_read(store, handle, READ_BYTES_MAX as u32)
            });
            let chunk = chunk.await;
            (held, chunk)
        }))
    }

    /// The rule that a chunk breaks.
    fn check(&mut self, chunk: &[u8]) -> Result<(), String> {
        let length = chunk.len() as u64;
        if chunk.len() > READ_BYTES_MAX {
            return Err(format!("it gave {length} bytes at once"));
        }
        if length == 0 && self.left > 0 {
            return Err(format!(
                "its content ended {} bytes before the size that it said",
                self.left
            ));
        }
        self.left = self
            .left
            .checked_sub(length)
            .ok_or("it gave more bytes than it said")?;
        Ok(())
    }
}

impl Stream for GuestChunks {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.state, Reading::Done) {
                Reading::Done => return Poll::Ready(None),
                Reading::Idle(held) => self.state = self.next(held),
                Reading::Busy(mut reading) => {
                    let Poll::Ready((held, chunk)) = reading.as_mut().poll(context) else {
                        self.state = Reading::Busy(reading);
                        return Poll::Pending;
                    };
                    let chunk = match chunk {
                        Ok(chunk) => chunk,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    if let Err(rule) = self.check(&chunk) {
                        return Poll::Ready(Some(Err(self.core.broke(&self.asked, rule))));
                    }
                    if chunk.is_empty() {
                        return Poll::Ready(None);
                    }
                    self.state = Reading::Idle(held);
                    return Poll::Ready(Some(Ok(chunk.into())));
                }
            }
        }
    }
}

/// A guest's writer.
pub(super) struct GuestWriter {
    held: Held,
    core: Arc<Core>,
    path: StoragePath,
    size: u64,
}

impl GuestWriter {
    pub(super) async fn open(
        pool: &Arc<Pool>,
        path: &StoragePath,
        mode: WriteMode,
    ) -> Result<GuestWriter, Error> {
        let asked = Asked::new("write", path);
        pool.settled().await;
        let mut lease = pool.lease().await?;
        let wanted = path.clone();
        let mode = match mode {
            WriteMode::Create => types::WriteMode::Create,
            WriteMode::Append => types::WriteMode::Append,
        };
        let opened = lease.call(move |guest| {
            let (driver, store) = guest.driver();
            let writer = match driver.call_open_writer(&mut *store, wanted.as_str(), mode)? {
                Ok(writer) => writer,
                Err(error) => return Ok(Err(error)),
            };
            let size = driver.writer().call_size(store, writer)?;
            Ok(Ok((writer, size)))
        });
        let core = Arc::clone(&pool.core);
        let opened = opened.await.map_err(|fault| core.fault(&asked, fault))?;
        let (writer, size) = opened.map_err(|error| core.told(&asked, error))?;
        Ok(GuestWriter {
            held: Held::writer(lease, writer),
            core,
            path: path.clone(),
            size,
        })
    }

    fn asked(&self, doing: &'static str) -> Asked {
        Asked::new(doing, &self.path)
    }

    /// After a write that was cut off, or crashed, nobody knows what was taken.
    fn still_good(&self) -> Result<(), Error> {
        if self.held.is_good() {
            return Ok(());
        }
        Err(Error::Interrupted {
            driver: self.core.name(),
            path: self.path.clone(),
        })
    }

    async fn write_piece(&mut self, piece: Bytes) -> Result<(), Error> {
        self.still_good()?;
        let (asked, length) = (self.asked("write"), piece.len() as u64);
        let written = self.held.call(&asked, move |guest, handle| {
            let (driver, store) = guest.driver();
            driver.writer().call_write(store, handle, &piece)
        });
        let Err(error) = written.await else {
            self.size += length;
            return Ok(());
        };
        if self.held.is_good() {
            let size = self.held.call(&asked, |guest, handle| {
                let (driver, store) = guest.driver();
                driver.writer().call_size(store, handle).map(Ok)
            });
            // The first error is the one that counts.
            self.size = size.await.unwrap_or(self.size);
        }
        Err(error)
    }

    /// The last call.
    fn end(
        self: Box<Self>,
        doing: &'static str,
        work: impl FnOnce(&mut Guest, ResourceAny) -> Answer<()> + Send + 'static,
    ) -> Pending<'static, ()> {
        Box::pin(async move {
            self.still_good()?;
            let asked = self.asked(doing);
            self.held.end(&asked, work).await
        })
    }
}

impl Writer for GuestWriter {
    fn size(&self) -> u64 {
        self.size
    }

    fn write(&mut self, mut bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            self.still_good()?;
            while !bytes.is_empty() {
                let piece = bytes.split_to(bytes.len().min(DRIVER_WRITE_BYTES));
                self.write_piece(piece).await?;
            }
            Ok(())
        })
    }

    fn commit(self: Box<Self>) -> Pending<'static, ()> {
        self.end("commit", |guest, handle| {
            let (driver, store) = guest.driver();
            driver.writer().call_commit(store, handle)
        })
    }

    fn commit_to(self: Box<Self>, to: &StoragePath) -> Pending<'static, ()> {
        let to = to.clone();
        Box::pin(async move {
            to.not_root()?;
            let commit = self.end("commit", move |guest, handle| {
                let (driver, store) = guest.driver();
                driver.writer().call_commit_to(store, handle, to.as_str())
            });
            commit.await
        })
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        self.end("close", |guest, handle| {
            let (driver, store) = guest.driver();
            driver.writer().call_close(store, handle)
        })
    }

    fn cancel(self: Box<Self>) -> Pending<'static, ()> {
        self.end("cancel", |guest, handle| {
            let (driver, store) = guest.driver();
            driver.writer().call_cancel(store, handle)
        })
    }
}

impl fmt::Debug for GuestWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestWriter")
            .field("path", &self.path)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
