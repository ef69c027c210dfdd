//! Blobs: bytes that all repositories share, and the link that makes them known in one.

use transom_oci::Digest;
use transom_storage::{Entry, Reader, StoragePath};

use super::Store;
use crate::error::{Result, absent};
use crate::names::RepositoryName;
use crate::{Error, layout};

/// A blob that a repository has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The digest that it was asked for by.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Where it is on the driver.
    pub path: StoragePath,
}

impl Blob {
    /// The digest that the bytes are kept under: docker-registry's links may lead from one algorithm's digest to another's.
    fn target(&self) -> Option<Digest> {
        layout::digest_of_blob(&self.path)
    }
}

impl Store {
    /// Looks for a blob.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`].
    pub async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Blob> {
        let missing = || Error::blob_unknown(repository, digest);
        let (link, path) = (layout::layer_link(repository, digest)?, layout::blob(digest)?);
        // The link nearly always leads to the digest itself, so that both can be asked at the same time.
        let (target, entry) = tokio::join!(self.linked(&link, missing), self.driver().stat(&path));
        let target = target?;
        let (path, entry) = match target == *digest {
            true => (path, entry.map_err(absent(missing))?),
            false => {
                let path = layout::blob(&target)?;
                let entry = self.driver().stat(&path).await.map_err(absent(missing))?;
                (path, entry)
            }
        };
        whole(repository, digest, path, &entry)
    }

    /// Looks for a blob that somebody is about to refer to: it stays for as long as that may take.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`].
    pub async fn wanted_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<Blob> {
        let blob = self.blob(repository, digest).await?;
        let link = layout::layer_link(repository, digest)?;
        let target = blob.target();
        self.renew(&link, target.as_ref().unwrap_or(digest)).await?;
        Ok(blob)
    }

    /// Opens a blob from its first byte on.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`].
    pub async fn open_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<(Blob, Reader)> {
        let missing = || Error::blob_unknown(repository, digest);
        let (link, path) = (layout::layer_link(repository, digest)?, layout::blob(digest)?);
        let (target, reader) = tokio::join!(self.linked(&link, missing), self.driver().read(&path, 0));
        let target = target?;
        let (path, reader) = match target == *digest {
            true => (path, reader.map_err(absent(missing))?),
            false => {
                let path = layout::blob(&target)?;
                let reader = self.driver().read(&path, 0).await.map_err(absent(missing))?;
                (path, reader)
            }
        };
        let blob = whole(repository, digest, path, reader.entry())?;
        Ok((blob, reader))
    }

    /// Opens a blob that was found from a later byte on.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if it is gone meanwhile.
    pub async fn read_blob(&self, repository: &RepositoryName, blob: &Blob, offset: u64) -> Result<Reader> {
        let missing = || Error::blob_unknown(repository, &blob.digest);
        let reader = self.driver().read(&blob.path, offset).await;
        reader.map_err(absent(missing))
    }

    /// Makes a blob of another repository known in this one. With no repository named, and where the options say so, one that
    /// any has.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if it is not there.
    pub async fn mount(
        &self,
        repository: &RepositoryName,
        from: Option<&RepositoryName>,
        digest: &Digest,
    ) -> Result<Blob> {
        let missing = || Error::blob_unknown(from.unwrap_or(repository), digest);
        let blob = match from {
            Some(from) => self.blob(from, digest).await?,
            None if self.options().mount_from_anywhere => {
                let path = layout::blob(digest)?;
                let entry = self.driver().stat(&path).await.map_err(absent(missing))?;
                // Nothing may lead to it any more.
                if self.is_ageing(entry.modified()) {
                    return Err(missing());
                }
                whole(repository, digest, path, &entry)?
            }
            None => return Err(missing()),
        };
        let path = layout::layer_link(repository, digest)?;
        let target = blob.target();
        let _shared = self.inner.locks.shared(repository).await;
        self.link(&path, target.as_ref().unwrap_or(digest)).await?;
        Ok(blob)
    }

    /// Makes a blob unknown in a repository. Its bytes stay until garbage is collected.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if it was not known.
    pub async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        match self.remove(&layout::layer(repository, digest)?).await? {
            true => Ok(()),
            false => Err(Error::blob_unknown(repository, digest)),
        }
    }

    /// Whether a repository has a blob.
    pub(super) async fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        match self.blob(repository, digest).await {
            Ok(_) => Ok(true),
            Err(Error::BlobUnknown { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn whole(repository: &RepositoryName, digest: &Digest, path: StoragePath, entry: &Entry) -> Result<Blob> {
    if entry.is_folder() {
        return Err(Error::blob_unknown(repository, digest));
    }
    Ok(Blob {
        digest: digest.clone(),
        size: entry.size(),
        path,
    })
}
