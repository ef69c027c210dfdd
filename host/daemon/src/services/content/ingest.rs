//! A writer of either backend, whose files are touched beside the tasks of other requests.

use bytes::Bytes;
use transom_content::{Partial, Writer};
use transom_meta::content::IngestStatus;
use transom_meta::{Error, Labels};
use transom_oci::Digest;

use super::{flat, unwound};

/// A writer.
#[derive(Debug)]
pub enum Ingest {
    /// Of a namespace.
    Whole(Box<transom_meta::content::Writer>),
    /// Of a store without namespaces. Away while a thread has it, and for good if that panics.
    Flat(Option<Box<Writer>>),
}

impl Ingest {
    /// How far it is.
    pub(in crate::services) fn status(&self) -> Result<IngestStatus, Error> {
        match self {
            Ingest::Whole(writer) => writer.status(),
            Ingest::Flat(writer) => Ok(flat::status(writer.as_ref().ok_or_else(away)?.status())),
        }
    }

    /// The digest of the bytes so far.
    pub(in crate::services) fn digest(&self) -> Result<Digest, Error> {
        match self {
            Ingest::Whole(writer) => writer.digest(),
            Ingest::Flat(writer) => Ok(writer.as_ref().ok_or_else(away)?.digest()),
        }
    }

    /// The bytes so far, to be read along; none of what is in memory, or here already.
    pub(in crate::services) fn partial(&self) -> Result<Option<Partial>, Error> {
        match self {
            Ingest::Whole(writer) => writer.partial(),
            Ingest::Flat(writer) => Ok(writer.as_ref().ok_or_else(away)?.partial()?),
        }
    }

    /// Appends bytes.
    pub(in crate::services) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        match self {
            Ingest::Whole(writer) => writer.write(bytes).await,
            Ingest::Flat(writer) => with(writer, move |writer| writer.write(&bytes)).await,
        }
    }

    /// Starts over.
    pub(in crate::services) async fn truncate(&mut self) -> Result<(), Error> {
        match self {
            Ingest::Whole(writer) => writer.truncate().await,
            Ingest::Flat(writer) => with(writer, |writer| writer.truncate(0)).await,
        }
    }

    /// Makes it a blob.
    pub(in crate::services) async fn commit(
        &mut self,
        total: Option<u64>,
        expected: Option<&Digest>,
        labels: Labels,
    ) -> Result<Digest, Error> {
        match self {
            Ingest::Whole(writer) => Ok(writer.commit(total, expected, labels).await?.digest),
            Ingest::Flat(writer) => {
                let expected = expected.cloned();
                let committed = with(writer, move |writer| writer.commit(total, expected.as_ref()));
                Ok(committed.await?.digest)
            }
        }
    }

    /// Keeps what was not committed.
    pub(in crate::services) async fn close(self) -> Result<(), Error> {
        match self {
            Ingest::Whole(writer) => writer.close().await,
            Ingest::Flat(writer) => {
                let writer = writer.ok_or_else(away)?;
                Ok(unwound(
                    tokio::task::spawn_blocking(move || writer.close()).await,
                )?)
            }
        }
    }
}

async fn with<T: Send + 'static>(
    place: &mut Option<Box<Writer>>,
    work: impl FnOnce(&mut Writer) -> Result<T, transom_content::Error> + Send + 'static,
) -> Result<T, Error> {
    let mut writer = place.take().ok_or_else(away)?;
    let task = tokio::task::spawn_blocking(move || {
        let done = work(&mut writer);
        (writer, done)
    });
    let (writer, done) = unwound(task.await);
    *place = Some(writer);
    Ok(done?)
}

fn away() -> Error {
    Error::FailedPrecondition {
        what: "the writer is closed".to_owned(),
    }
}
