//! The content of this daemon for a differ, which works in threads that may block.

use bytes::Bytes;
use tokio::runtime::Handle;
use transom_diff::blobs::{BlobWriter, Blobs, Committed, Fault, Labels, Opened};
use transom_meta::Class;
use transom_oci::Digest;

use crate::services::content::backend::{Backend, Who};
use crate::services::content::ingest::Ingest;

/// Content here, on behalf of one caller.
pub(super) struct Local {
    backend: Backend,
    who: Who,
    runtime: Handle,
}

impl Local {
    /// To be called where the runtime is.
    pub(super) fn new(backend: Backend, who: Who) -> Local {
        Local {
            backend,
            who,
            runtime: Handle::current(),
        }
    }
}

impl Blobs for Local {
    fn open(&self, digest: &Digest) -> Result<Opened, Fault> {
        let blob = self.runtime.block_on(self.backend.reader(&self.who, digest))?;
        Ok(Opened {
            size: blob.size(),
            verified: false,
            bytes: Box::new(blob),
        })
    }

    fn create(&self, reference: &str) -> Result<Box<dyn BlobWriter>, Fault> {
        let open = async {
            let mut ingest = self.backend.ingest(&self.who, reference, None, None).await?;
            if ingest.status()?.offset > 0 {
                ingest.truncate().await?;
            }
            Ok::<_, transom_meta::Error>(ingest)
        };
        Ok(Box::new(Writer {
            ingest: self.runtime.block_on(open)?,
            runtime: self.runtime.clone(),
        }))
    }

    fn abort(&self, reference: &str) -> Result<(), Fault> {
        Ok(self
            .runtime
            .block_on(self.backend.ingest_abort(&self.who, reference))?)
    }

    fn add_label(&self, digest: &Digest, key: &str, value: &str) -> Result<(), Fault> {
        let add = async {
            let found = self.backend.info(&self.who, digest).await?;
            if found.labels.contains_key(key) {
                return Ok(());
            }
            let labels = Labels::from([(key.to_owned(), value.to_owned())]);
            let paths = [format!("labels.{key}")];
            let updated = self.backend.update(&self.who, digest, labels, &paths).await;
            updated.map(drop)
        };
        Ok(self.runtime.block_on(add)?)
    }
}

struct Writer {
    ingest: Ingest,
    runtime: Handle,
}

impl BlobWriter for Writer {
    fn write(&mut self, bytes: Bytes) -> Result<(), Fault> {
        Ok(self.runtime.block_on(self.ingest.write(bytes))?)
    }

    fn commit(mut self: Box<Self>, size: u64, digest: &Digest, labels: &Labels) -> Result<Committed, Fault> {
        let commit = self.ingest.commit(Some(size), Some(digest), labels.clone());
        match self.runtime.block_on(commit) {
            Ok(_) => Ok(Committed::New),
            Err(error) if error.class() == Class::AlreadyExists => Ok(Committed::There),
            Err(error) => Err(error.into()),
        }
    }

    fn close(self: Box<Self>) -> Result<(), Fault> {
        Ok(self.runtime.block_on(self.ingest.close())?)
    }
}
