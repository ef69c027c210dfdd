//! Uploads: begun, appended to, gone on with by another request or another process, committed as a blob or cancelled.
//!
//! What arrives goes to the driver at once, and is hashed meanwhile. The running hash is kept in memory between two requests; when
//! it is lost, after a restart or because another instance has it, the content is read once more before it becomes a blob.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio_stream::StreamExt;
use transom_oci::{Algorithm, Digest, Hasher};
use transom_storage::{StoragePath, WriteMode, Writer};

use super::Store;
use crate::error::{Result, absent};
use crate::names::RepositoryName;
use crate::{Error, layout, limits};

mod day;
mod id;
mod running;

pub(crate) use day::Day;
pub(crate) use id::UploadId;
pub(super) use running::Running;
use running::{Key, Taken};

/// An upload that a request works on. Dropping it keeps what was appended.
#[derive(Debug)]
pub struct OpenUpload {
    store: Store,
    path: StoragePath,
    writer: Option<Box<dyn Writer>>,
    taken: Taken,
}

impl Store {
    /// Begins an upload and gives its id. `algorithm` is the one of the digest that it will be committed with, if that is known.
    ///
    /// # Errors
    /// The driver's.
    pub async fn begin_upload(
        &self,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Result<String> {
        let id = UploadId::new();
        self.mark_day(repository, Day::of(id.begun())).await?;
        let upload = self.create_upload(repository, id, algorithm).await?;
        upload.pause().await?;
        Ok(id.to_string())
    }

    /// Begins an upload that is filled and committed at once.
    ///
    /// # Errors
    /// The driver's.
    pub async fn new_upload(&self, repository: &RepositoryName, algorithm: Algorithm) -> Result<OpenUpload> {
        self.create_upload(repository, UploadId::new(), Some(algorithm))
            .await
    }

    async fn create_upload(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        algorithm: Option<Algorithm>,
    ) -> Result<OpenUpload> {
        let path = layout::upload(repository, id)?;
        let writer = self.driver().writer(&path, WriteMode::Create).await?;
        let taken = self
            .inner
            .running
            .begin(Key::new(repository, id), algorithm.unwrap_or(Algorithm::Sha256));
        Ok(OpenUpload {
            store: self.clone(),
            path,
            writer: Some(writer),
            taken,
        })
    }

    /// Goes on with an upload. If another request works on it, that one has a moment to end: its client may be gone already.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::UploadBusy`].
    pub async fn open_upload(&self, repository: &RepositoryName, id: &str) -> Result<OpenUpload> {
        let begun = Instant::now();
        loop {
            match self.try_open_upload(repository, id).await {
                Err(Error::UploadBusy(_)) if begun.elapsed() < limits::UPLOAD_WAIT => {
                    tokio::time::sleep(limits::UPLOAD_RETRY).await;
                }
                other => return other,
            }
        }
    }

    async fn try_open_upload(&self, repository: &RepositoryName, id: &str) -> Result<OpenUpload> {
        let unknown = || Error::UploadUnknown(id.chars().take(limits::SHOWN_BYTES).collect());
        let id = UploadId::check(id).ok_or_else(unknown)?;
        let path = layout::upload(repository, id)?;
        let mut taken = self
            .inner
            .running
            .take(Key::new(repository, id))
            .ok_or_else(|| Error::UploadBusy(id.to_string()))?;
        let writer = match self.driver().writer(&path, WriteMode::Append).await {
            Ok(writer) => writer,
            Err(transom_storage::Error::Busy { .. }) => return Err(Error::UploadBusy(id.to_string())),
            Err(error) => {
                taken.forget();
                return Err(absent(unknown)(error));
            }
        };
        taken.fit(writer.size());
        Ok(OpenUpload {
            store: self.clone(),
            path,
            writer: Some(writer),
            taken,
        })
    }

    /// How many bytes an upload has.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::UploadBusy`].
    pub async fn upload_size(&self, repository: &RepositoryName, id: &str) -> Result<u64> {
        let upload = self.open_upload(repository, id).await?;
        let size = upload.size();
        upload.pause().await?;
        Ok(size)
    }
}

impl OpenUpload {
    /// How many bytes there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.size())
    }

    /// A file of this machine in which everything that was appended can be read, if there is one.
    pub(crate) fn file(&self) -> Option<Arc<File>> {
        self.writer.as_ref().and_then(|writer| writer.file())
    }

    /// The digest of what was appended; `None` if it is not known.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.taken.hasher.clone().map(Hasher::finish)
    }

    /// Chooses the algorithm while there is nothing yet to be hashed.
    pub fn expect(&mut self, algorithm: Algorithm) {
        if self.size() == 0 {
            self.taken.hasher = Some(Hasher::new(algorithm));
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The driver's. What was taken of them is kept.
    pub async fn append(&mut self, bytes: Bytes) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        // The driver's thread writes while this one hashes.
        let (written, ()) = tokio::join!(writer.write(bytes.clone()), async {
            if let Some(hasher) = &mut self.taken.hasher {
                hasher.update(&bytes);
            }
        });
        if let Err(error) = written {
            self.taken.hasher = None;
            return Err(Error::Storage(error));
        }
        self.taken.size = writer.size();
        Ok(())
    }

    /// Leaves the upload to the next request.
    ///
    /// # Errors
    /// The driver's.
    pub async fn pause(mut self) -> Result<()> {
        // A file keeps what was written without being asked; elsewhere the next request, which another instance may get, finds
        // only what was closed.
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        match self.store.driver().capabilities().local_files {
            true => drop(writer),
            false => writer.close().await?,
        }
        self.taken.keep();
        Ok(())
    }

    /// Throws it away.
    ///
    /// # Errors
    /// The driver's.
    pub async fn cancel(mut self) -> Result<()> {
        self.taken.forget();
        if let Some(writer) = self.writer.take() {
            writer.cancel().await?;
        }
        // What a process left that died between reading and renaming, or what docker-registry has of it.
        self.store.remove(&self.path).await?;
        Ok(())
    }

    /// Makes it a blob of the repository, if it has the digest. If not, it is thrown away.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`].
    pub async fn commit(mut self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        let hasher = self.taken.hasher.take();
        let known = hasher.filter(|hasher| hasher.algorithm() == digest.algorithm());
        let Some(hasher) = known else {
            return self.commit_unhashed(repository, digest).await;
        };
        let found = hasher.finish();
        if found != *digest {
            let wanted = digest.clone();
            self.cancel().await?;
            return Err(Error::DigestMismatch { wanted, found });
        }
        let (store, target) = (self.store.clone(), layout::blob(digest)?);
        let link = layout::layer_link(repository, digest)?;
        self.taken.forget();
        let size = self.size();
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let placed = async {
            match store.is_whole(&target, size).await? {
                true => writer.cancel().await,
                false => writer.commit_to(&target).await,
            }
            .map_err(Error::Storage)
        };
        // A link that leads nowhere, which a crash in between leaves, is no blob to anybody.
        let _shared = store.inner.locks.shared(repository).await;
        tokio::try_join!(placed, store.link(&link, digest))?;
        Ok(())
    }

    /// The same, by reading the content once more.
    async fn commit_unhashed(mut self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        let store = self.store.clone();
        let size = self.size();
        self.taken.forget();
        if let Some(writer) = self.writer.take() {
            writer.commit().await?;
        }
        let found = store.hash(&self.path, digest.algorithm()).await?;
        if found != *digest {
            store.remove(&self.path).await?;
            let wanted = digest.clone();
            return Err(Error::DigestMismatch { wanted, found });
        }
        let target = layout::blob(digest)?;
        match store.is_whole(&target, size).await? {
            true => drop(store.remove(&self.path).await?),
            false => store.driver().rename(&self.path, &target).await?,
        }
        let _shared = store.inner.locks.shared(repository).await;
        store.link(&layout::layer_link(repository, digest)?, digest).await
    }
}

impl Store {
    /// Hashes content.
    async fn hash(&self, path: &StoragePath, algorithm: Algorithm) -> Result<Digest> {
        let mut reader = self.driver().read(path, 0).await?;
        let mut hasher = Hasher::new(algorithm);
        while let Some(chunk) = reader.next().await {
            hasher.update(&chunk?);
        }
        Ok(hasher.finish())
    }
}
