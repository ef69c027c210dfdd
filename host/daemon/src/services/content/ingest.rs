//! A writer of either backend, whose files are touched beside the tasks of other requests.

use bytes::Bytes;
use transom_content::Writer;
use transom_meta::{Error, Labels};
use transom_oci::Digest;

use super::backend::{IngestStatus, unwound};

/// A writer.
#[derive(Debug)]
pub enum Ingest {
    /// Of a store without namespaces. Away while a thread has it, and for good if that panics.
    Flat(Option<Box<Writer>>),
}

impl Ingest {
    pub(super) fn flat(writer: Writer) -> Ingest {
        Ingest::Flat(Some(Box::new(writer)))
    }

    /// How far it is.
    pub(super) fn status(&self) -> Result<IngestStatus, Error> {
        match self {
            Ingest::Flat(writer) => {
                let status = writer.as_ref().ok_or_else(away)?.status();
                Ok(IngestStatus {
                    reference: status.reference,
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
    pub(super) fn digest(&self) -> Result<Digest, Error> {
        match self {
            Ingest::Flat(writer) => Ok(writer.as_ref().ok_or_else(away)?.digest()),
        }
    }

    /// Appends bytes.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        match self {
            Ingest::Flat(writer) => with(writer, move |writer| writer.write(&bytes)).await,
        }
    }

    /// Starts over.
    pub(super) async fn truncate(&mut self) -> Result<(), Error> {
        match self {
            Ingest::Flat(writer) => with(writer, |writer| writer.truncate(0)).await,
        }
    }

    /// Makes it a blob.
    pub(super) async fn commit(
        &mut self,
        total: Option<u64>,
        expected: Option<&Digest>,
        _labels: Labels,
    ) -> Result<Digest, Error> {
        match self {
            Ingest::Flat(writer) => {
                let expected = expected.cloned();
                with(writer, move |writer| {
                    writer.commit(total, expected.as_ref()).map(|info| info.digest)
                })
                .await
            }
        }
    }

    /// Keeps what was not committed.
    pub(super) async fn close(self) -> Result<(), Error> {
        match self {
            Ingest::Flat(writer) => {
                let writer = writer.ok_or_else(away)?;
                unwound(tokio::task::spawn_blocking(move || writer.close().map_err(Error::from)).await)
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
        let done = work(&mut writer).map_err(Error::from);
        Ok((writer, done))
    });
    let (writer, done) = unwound(task.await)?;
    *place = Some(writer);
    done
}

fn away() -> Error {
    Error::FailedPrecondition {
        what: "the writer is closed".to_owned(),
    }
}
