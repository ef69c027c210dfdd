//! A blob on its way from another registry into the store, read by everybody who wants it while it comes.
//!
//! The bytes go into the upload's own file where there is one, and beside the upload into a file without a name elsewhere. The
//! last of them is not shown before the digest is right: nobody gets the whole of what is not what was asked for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::sync::{mpsc, watch};
use transom_client::registry::BlobReader;
use transom_oci::Digest;
use transom_storage::entry::Kind;
use transom_storage::{Entry, Reader, StoragePath};

use super::limits::PIECES_WAITING;
use crate::error::Result;
use crate::source::{Pending, Readable};
use crate::store::OpenUpload;
use crate::{Error, layout, limits};

/// The name of this as a driver, in errors.
const NAME: &str = "proxy";

/// A blob on its way.
#[derive(Debug)]
pub(super) struct Arrival {
    file: Arc<File>,
    /// Whether the file is not the upload's own.
    beside: bool,
    path: StoragePath,
    size: u64,
    progress: watch::Sender<Progress>,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Bytes that may be read.
    shown: u64,
    /// Whether it has come to its end, and to which.
    ended: Option<Result<(), Arc<Error>>>,
}

impl Arrival {
    /// One that goes into an upload, whose own file may be read; `folder` is for files of this machine where there is none.
    pub(super) async fn new(
        own: Option<Arc<File>>,
        digest: &Digest,
        size: u64,
        folder: Option<&Path>,
    ) -> Result<Arrival> {
        let path = layout::blob(digest)?;
        let (file, beside) = match (own, folder) {
            (Some(file), _) => (file, false),
            (None, Some(folder)) => {
                let folder = folder.to_owned();
                let made = blocking(move || {
                    std::fs::create_dir_all(&folder)?;
                    tempfile::tempfile_in(&folder)
                });
                (Arc::new(made.await.map_err(failed("make", &path))?), true)
            }
            (None, None) => {
                let reason =
                    "the cache needs state, a folder of this machine, where blobs are while they arrive";
                return Err(Error::Damaged {
                    path: "the configuration".to_owned(),
                    reason: reason.to_owned(),
                });
            }
        };
        Ok(Arrival {
            file,
            beside,
            path,
            size,
            progress: watch::Sender::new(Progress::default()),
        })
    }

    /// Takes everything that comes. Some is shown as soon as it is written.
    pub(super) async fn take(
        &self,
        reader: BlobReader,
        upload: &mut OpenUpload,
        pulled: impl Fn(usize),
    ) -> (Result<(), transom_client::Error>, Result<()>) {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING);
        tokio::join!(forward(reader, sender), self.write(receiver, upload, pulled))
    }

    async fn write(
        &self,
        mut pieces: mpsc::Receiver<Bytes>,
        upload: &mut OpenUpload,
        pulled: impl Fn(usize),
    ) -> Result<()> {
        let mut rest = None;
        let mut written = 0;
        loop {
            let first = match rest.take() {
                Some(first) => first,
                None => match pieces.recv().await {
                    Some(first) => first,
                    None => return Ok(()),
                },
            };
            let bytes = gather(first, &mut pieces, &mut rest);
            pulled(bytes.len());
            if self.beside {
                let (file, copy) = (Arc::clone(&self.file), bytes.clone());
                let put = blocking(move || file.write_all_at(&copy, written));
                put.await.map_err(failed("write", &self.path))?;
            }
            written += bytes.len() as u64;
            upload.append(bytes).await?;
            let shown = written.min(self.size.saturating_sub(1));
            self.progress.send_modify(|progress| progress.shown = shown);
        }
    }

    /// The digest is right.
    pub(super) fn show_all(&self) {
        let size = self.size;
        self.progress.send_modify(|progress| progress.shown = size);
    }

    /// It is in the store, or never will be.
    pub(super) fn end(&self, ended: Result<(), Arc<Error>>) {
        self.progress.send_modify(|progress| progress.ended = Some(ended));
    }

    /// Waits until there is something to be read.
    ///
    /// # Errors
    /// Why there will be nothing.
    pub(super) async fn begun(&self) -> Result<()> {
        self.past(0).await.map(drop)
    }

    /// Waits until more than so many bytes may be read, or all; how many may.
    async fn past(&self, position: u64) -> Result<u64> {
        let mut progress = self.progress.subscribe();
        let found = progress
            .wait_for(|progress| progress.shown > position || progress.ended.is_some())
            .await;
        // The sender lives as long as `self`.
        let progress = found.map_err(|_| Error::TooBusy)?;
        match &progress.ended {
            Some(Err(error)) if progress.shown <= position => Err(Error::Shared(Arc::clone(error))),
            _ => Ok(progress.shown),
        }
    }

    /// The next bytes from a position on; none at the end.
    async fn next(&self, position: u64) -> Result<Bytes, transom_storage::Error> {
        let broken = |error: Error| failed_as("read", &self.path, io::Error::other(error));
        if position >= self.size {
            return Ok(Bytes::new());
        }
        let shown = self.past(position).await.map_err(broken)?;
        let length = (shown - position).min(limits::DOWNLOAD_CHUNK as u64) as usize;
        let file = Arc::clone(&self.file);
        let read = blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, position)?;
            Ok(Bytes::from(bytes))
        });
        read.await.map_err(|error| failed_as("read", &self.path, error))
    }
}

/// What comes is handed on as it comes, and what waits is written in one piece.
async fn forward(mut reader: BlobReader, pieces: mpsc::Sender<Bytes>) -> Result<(), transom_client::Error> {
    while let Some(piece) = reader.chunk().await? {
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn gather(first: Bytes, pieces: &mut mpsc::Receiver<Bytes>, rest: &mut Option<Bytes>) -> Bytes {
    if first.len() >= limits::UPLOAD_CHUNK / 2 {
        return first;
    }
    let Ok(second) = pieces.try_recv() else {
        return first;
    };
    let mut gathered = BytesMut::with_capacity(limits::UPLOAD_CHUNK);
    gathered.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(piece) = next {
        if gathered.len() + piece.len() > limits::UPLOAD_CHUNK {
            *rest = Some(piece);
            break;
        }
        gathered.extend_from_slice(&piece);
        next = pieces.try_recv().ok();
    }
    gathered.freeze()
}

/// A reader of an arrival. Each keeps it, and none hinders another.
#[derive(Clone, Debug)]
pub(super) struct Shown(pub(super) Arc<Arrival>);

impl Readable for Shown {
    fn size(&self) -> u64 {
        self.0.size
    }

    fn read(&self, offset: u64) -> Pending<'_, Reader> {
        let arrival = Arc::clone(&self.0);
        let entry = Entry {
            path: arrival.path.clone(),
            kind: Kind::File {
                size: arrival.size,
                modified: None,
            },
        };
        let chunks = stream::try_unfold((arrival, offset), |(arrival, position)| async move {
            let bytes = arrival.next(position).await?;
            let position = position + bytes.len() as u64;
            Ok((!bytes.is_empty()).then_some((bytes, (arrival, position))))
        });
        let reader = Reader::from_chunks(entry, offset, Box::pin(chunks));
        Box::pin(async { Ok(reader) })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
        .flatten()
}

fn failed<'p>(doing: &'static str, path: &'p StoragePath) -> impl FnOnce(io::Error) -> Error + 'p {
    move |error| Error::Storage(failed_as(doing, path, error))
}

fn failed_as(doing: &'static str, path: &StoragePath, error: io::Error) -> transom_storage::Error {
    transom_storage::Error::io(NAME.into(), doing, path, error)
}
