//! A writer of a namespace: bytes, then a commit that makes them content of it.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use transom_content::IngestOptions;
use transom_oci::Digest;

use super::{IngestStatus, Record};
use crate::Error;
use crate::limits;
use crate::metadata::{Inner, joined};
use crate::names::{self, Caller, Labels};

/// An ingest open for writing.
///
/// Everything that touches a file is done on a thread that may block. Dropping a writer keeps what was written, as
/// [`close`](Writer::close) does, but without waiting for it.
#[derive(Debug)]
pub struct Writer {
    pub(super) inner: Arc<Inner>,
    pub(super) caller: Caller,
    pub(super) reference: String,
    /// The ref in the content store.
    pub(super) backend: String,
    source: Source,
}

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Source {
    /// In a blob that is here already.
    Shared {
        digest: Digest,
        size: u64,
        started: SystemTime,
    },
    /// In an ingest of the content store. Away while a thread has it, and for good if that panics.
    Own(Option<Box<transom_content::Writer>>),
}

impl Source {
    pub(super) fn shared(digest: Digest, size: u64, started: SystemTime) -> Source {
        Source::Shared {
            digest,
            size,
            started,
        }
    }

    pub(super) async fn open(
        blobs: &transom_content::Store,
        backend: &str,
        total: Option<u64>,
    ) -> Result<Source, Error> {
        let options = IngestOptions {
            total,
            ..IngestOptions::default()
        };
        let mut pause = limits::REF_PAUSE;
        let writer = loop {
            let (blobs, backend, options) = (blobs.clone(), backend.to_owned(), options.clone());
            let open = move || blobs.ingest(&backend, options);
            match joined(tokio::task::spawn_blocking(open).await) {
                // The writer before may still be closing: a client does not wait for that, and old ones do not try again.
                Err(transom_content::Error::Locked { .. }) if pause <= limits::REF_PAUSE_MAX => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                opened => break opened?,
            }
        };
        Ok(Source::Own(Some(Box::new(writer))))
    }
}

impl Writer {
    pub(super) fn new(
        inner: Arc<Inner>,
        caller: &Caller,
        reference: &str,
        backend: String,
        source: Source,
    ) -> Writer {
        Writer {
            inner,
            caller: caller.clone(),
            reference: reference.to_owned(),
            backend,
            source,
        }
    }

    /// How far it is.
    ///
    /// # Errors
    /// [`Error::Content`] if it was closed by a panic.
    pub fn status(&self) -> Result<IngestStatus, Error> {
        let reference = self.reference.clone();
        match &self.source {
            Source::Shared {
                digest,
                size,
                started,
            } => Ok(IngestStatus {
                reference,
                offset: *size,
                total: Some(*size),
                expected: Some(digest.clone()),
                started: *started,
                updated: *started,
            }),
            Source::Own(writer) => {
                let status = writer.as_ref().ok_or_else(|| self.closed())?.status();
                Ok(IngestStatus {
                    reference,
                    offset: status.offset,
                    total: status.total,
                    expected: None,
                    started: status.started,
                    updated: status.updated,
                })
            }
        }
    }

    /// The digest of the bytes so far.
    ///
    /// # Errors
    /// As [`status`](Writer::status).
    pub fn digest(&self) -> Result<Digest, Error> {
        match &self.source {
            Source::Shared { digest, .. } => Ok(digest.clone()),
            Source::Own(writer) => Ok(writer.as_ref().ok_or_else(|| self.closed())?.digest()),
        }
    }

    /// Appends bytes. If the writer shares a blob, that is copied first.
    ///
    /// # Errors
    /// [`Error::Content`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.own(true).await?;
        if let Source::Own(Some(writer)) = &mut self.source
            && writer.takes_at_once(bytes.len())
        {
            return Ok(writer.write(&bytes)?);
        }
        self.with(move |writer| writer.write(&bytes)).await
    }

    /// Appends bytes that came in pieces, with one change of threads for all of them.
    ///
    /// # Errors
    /// [`Error::Content`]. Of the pieces, some may be written.
    pub async fn write_all(&mut self, pieces: Vec<Bytes>) -> Result<(), Error> {
        if pieces.iter().all(Bytes::is_empty) {
            return Ok(());
        }
        self.own(true).await?;
        self.with(move |writer| pieces.iter().try_for_each(|piece| writer.write(piece)))
            .await
    }

    /// The bytes so far, to be read along; none if they are those of a blob that is here already, or of
    /// a small ingest that is whole at once.
    ///
    /// # Errors
    /// [`Error::Content`].
    pub fn partial(&self) -> Result<Option<transom_content::Partial>, Error> {
        match &self.source {
            Source::Shared { .. } => Ok(None),
            Source::Own(writer) => {
                let writer = writer.as_ref().ok_or_else(|| self.closed())?;
                Ok(writer.partial()?)
            }
        }
    }

    /// Throws away what was written.
    ///
    /// # Errors
    /// [`Error::Content`].
    pub async fn truncate(&mut self) -> Result<(), Error> {
        self.own(false).await?;
        self.with(|writer| writer.truncate(0)).await
    }

    /// Makes the bytes content of the namespace. When this returns, it survives a power cut.
    ///
    /// # Errors
    /// [`Error::Content`] if size or digest are not as given (the bytes are kept), [`Error::Label`]; [`Error::AlreadyExists`]
    /// if the namespace has the blob (the ingest is gone then, and the caller's lease has the blob);
    /// [`Error::NotFound`] if the caller's lease is gone.
    pub async fn commit(
        &mut self,
        size: Option<u64>,
        expected: Option<&Digest>,
        labels: Labels,
    ) -> Result<Record, Error> {
        names::labels("info.Labels", &labels)?;
        let labels = names::without_empty(labels);
        self.check_lease().await?;
        let digest = match expected {
            Some(expected) => expected.clone(),
            None => self.digest()?,
        };
        let inner = Arc::clone(&self.inner);
        // From here until the record is written, the collector leaves the blob alone.
        let held = inner.digests.hold(&digest).await;
        let (digest, size) = match &self.source {
            Source::Shared {
                digest, size: actual, ..
            } => {
                self.check_shared(digest, *actual, size, expected)?;
                self.inner.is_there(digest).await?;
                (digest.clone(), *actual)
            }
            // Named in any case: what is held is what gets its name.
            Source::Own(_) => self.commit_bytes(size, digest).await?,
        };
        self.record(&held, digest, size, labels).await
    }

    /// Keeps the bytes for a later writer of this ref, safe from a power cut.
    ///
    /// # Errors
    /// [`Error::Content`].
    pub async fn close(mut self) -> Result<(), Error> {
        if let Source::Own(writer) = &mut self.source
            && let Some(writer) = writer.take()
        {
            let written = writer.offset() > 0;
            joined(tokio::task::spawn_blocking(move || writer.close()).await)?;
            if written {
                self.keep().await?;
            }
        }
        Ok(())
    }

    /// Ends the ingest as far as the content store is concerned: the blob is in its place. Gives its digest and size.
    async fn commit_bytes(&mut self, size: Option<u64>, expected: Digest) -> Result<(Digest, u64), Error> {
        let committed = self
            .with(move |writer| match writer.commit(size, Some(&expected)) {
                Ok(info) => Ok((info.digest, info.size)),
                // Another namespace has it, or had it: the bytes are there.
                Err(transom_content::Error::AlreadyExists { digest }) => Ok((digest, writer.offset())),
                Err(error) => Err(error),
            })
            .await;
        // The store knows the ref by another name than the client.
        committed.map_err(|error| match error {
            Error::Content(transom_content::Error::SizeMismatch { actual, expected, .. }) => {
                let reference = self.reference.clone();
                Error::Content(transom_content::Error::SizeMismatch {
                    reference,
                    actual,
                    expected,
                })
            }
            other => other,
        })
    }

    fn check_shared(
        &self,
        digest: &Digest,
        actual: u64,
        size: Option<u64>,
        expected: Option<&Digest>,
    ) -> Result<(), Error> {
        if let Some(expected) = size.filter(|size| *size != actual) {
            let reference = self.reference.clone();
            return Err(Error::Content(transom_content::Error::SizeMismatch {
                reference,
                actual,
                expected,
            }));
        }
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(Error::Content(transom_content::Error::DigestMismatch {
                actual: digest.clone(),
                expected: expected.clone(),
            }));
        }
        Ok(())
    }

    /// Makes the writer one with an ingest of its own: with a copy of the blob that it shared, or with nothing.
    async fn own(&mut self, copy: bool) -> Result<(), Error> {
        let Source::Shared { digest, .. } = &self.source else {
            return Ok(());
        };
        let digest = digest.clone();
        let held = self.inner.digests.hold(&digest).await;
        let mut source = Source::open(&self.inner.blobs, &self.backend, None).await?;
        if let Source::Own(Some(writer)) = &mut source {
            writer.truncate(0)?;
        }
        drop(held);
        self.source = source;
        if copy {
            let blobs = self.inner.blobs.clone();
            let digest = digest.clone();
            self.with(move |writer| copy_blob(&blobs, &digest, writer))
                .await?;
        }
        self.no_longer_shared(&digest).await
    }

    /// Does something with the store's writer on a thread that may block.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut transom_content::Writer) -> Result<T, transom_content::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let closed = self.closed();
        let Source::Own(place) = &mut self.source else {
            return Err(closed);
        };
        let Some(mut writer) = place.take() else {
            return Err(closed);
        };
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&mut writer);
            (writer, done)
        });
        let (writer, done) = joined(done.await);
        *place = Some(writer);
        Ok(done?)
    }

    fn closed(&self) -> Error {
        let reference = self.reference.clone();
        Error::Content(transom_content::Error::Closed { reference })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing flushes, which is no work for a thread of the runtime.
        if let Source::Own(writer) = &mut self.source
            && let Some(writer) = writer.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(writer));
        }
    }
}

fn copy_blob(
    blobs: &transom_content::Store,
    digest: &Digest,
    writer: &mut transom_content::Writer,
) -> Result<(), transom_content::Error> {
    let blob = blobs.reader(digest)?;
    let mut buffer = vec![0; transom_content::limits::REHASH_CHUNK];
    let mut offset = 0;
    loop {
        let read = blob
            .read_at(&mut buffer, offset)
            .map_err(|source| transom_content::Error::Io {
                doing: "read",
                path: blobs.blob_path(digest),
                source,
            })?;
        if read == 0 {
            return Ok(());
        }
        writer.write(&buffer[..read])?;
        offset += read as u64;
    }
}
