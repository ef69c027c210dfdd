//! A daemon's content as what blobs are fetched into and sent from, for daemons that do not speak with registries themselves.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tonic::Streaming;
use transom_api::content::{AbortRequest, ReadContentRequest, ReadContentResponse};
use transom_client::Upload;
use transom_client::fetch::store::{Ingest, Opening, Pending, Store, StoreError};
use transom_oci::{Descriptor, Digest};

use crate::client::Client;
use crate::client::upload::{Opened, Wanted, Writer};
use crate::failure::Failure;

/// A daemon's content, and the label that new blobs get.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    client: Client,
    label: (String, String),
}

impl Remote {
    pub(crate) fn new(client: &Client, label: (String, String)) -> Remote {
        Remote {
            client: client.clone(),
            label,
        }
    }

    fn wanted(&self, reference: &str, blob: &Descriptor) -> Wanted {
        Wanted {
            reference: reference.to_owned(),
            total: Some(blob.size),
            expected: Some(blob.digest.to_string()),
            labels: [self.label.clone()].into(),
        }
    }
}

impl Store for Remote {
    fn identity(&self) -> String {
        self.client.namespace().to_owned()
    }

    fn open<'a>(&'a self, reference: &'a str, blob: &'a Descriptor) -> Pending<'a, Opening> {
        Box::pin(async move {
            let wanted = self.wanted(reference, blob);
            match self.client.upload(&wanted).await.map_err(other)? {
                Opened::Exists => Ok(Opening::Present),
                Opened::Writer(writer) => Ok(Opening::Ready(Box::new(Filling {
                    client: self.client.clone(),
                    wanted,
                    offset: writer.offset(),
                    writer: Some(writer),
                }))),
            }
        })
    }
}

/// An open write stream.
struct Filling {
    client: Client,
    wanted: Wanted,
    offset: u64,
    /// Gone after a commit or close.
    writer: Option<Box<Writer>>,
}

impl Filling {
    fn writer(&mut self) -> Result<&mut Writer, StoreError> {
        let writer = self.writer.as_deref_mut();
        writer.ok_or_else(|| StoreError::Other("the ingest is closed".into()))
    }

    /// Throws away what the daemon has. It knows no other way from outside than to begin anew.
    async fn anew(&mut self) -> Result<(), Failure> {
        if let Some(writer) = self.writer.take() {
            writer.close().await?;
        }
        let abort = AbortRequest {
            r#ref: self.wanted.reference.clone(),
        };
        self.client.content().abort(abort).await?;
        if let Opened::Writer(writer) = self.client.upload(&self.wanted).await? {
            self.offset = writer.offset();
            self.writer = Some(writer);
        }
        Ok(())
    }
}

impl Ingest for Filling {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            let length = bytes.len() as u64;
            self.writer()?.write(bytes).await.map_err(other)?;
            self.offset += length;
            Ok(())
        })
    }

    fn truncate(&mut self) -> Pending<'_, ()> {
        Box::pin(async move { self.anew().await.map_err(other) })
    }

    fn commit<'a>(&'a mut self, blob: &'a Descriptor) -> Pending<'a, ()> {
        Box::pin(async move {
            let digest = self.writer()?.settled().await.map_err(other)?;
            // The daemon would refuse it, and not say what it has instead.
            if let Ok(actual) = digest.parse::<Digest>()
                && actual.algorithm() == blob.digest.algorithm()
                && actual != blob.digest
            {
                return Err(StoreError::Wrong { actual });
            }
            match self.writer.take() {
                Some(writer) => writer.commit().await.map(drop).map_err(other),
                None => Err(StoreError::Other("the ingest is closed".into())),
            }
        })
    }

    fn close(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            match self.writer.take() {
                Some(writer) => writer.close().await.map_err(other),
                None => Ok(()),
            }
        })
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn other(failure: Failure) -> StoreError {
    StoreError::Other(failure.message().into())
}

/// A blob of a daemon that is sent to a registry.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    client: Client,
    digest: Digest,
    runtime: Handle,
}

impl Blob {
    pub(crate) fn new(client: &Client, digest: &Digest) -> Arc<Blob> {
        Arc::new(Blob {
            client: client.clone(),
            digest: digest.clone(),
            runtime: Handle::current(),
        })
    }
}

impl Upload for Blob {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let request = ReadContentRequest {
            digest: self.digest.to_string(),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            size: 0,
        };
        let mut service = self.client.content();
        let pieces = self.runtime.block_on(service.read(request));
        let pieces = pieces.map_err(failed)?;
        Ok(Box::new(Pieces {
            runtime: self.runtime.clone(),
            pieces: pieces.into_inner(),
            piece: Bytes::new(),
        }))
    }
}

/// What a daemon sends of a blob.
struct Pieces {
    runtime: Handle,
    pieces: Streaming<ReadContentResponse>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.pieces.message()) {
                Ok(Some(piece)) => self.piece = piece.data,
                Ok(None) => return Ok(0),
                Err(status) => return Err(failed(status)),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

fn failed(status: tonic::Status) -> io::Error {
    io::Error::other(Failure::from(status).message())
}
