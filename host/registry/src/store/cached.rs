//! What is kept of other registries: manifests without what they refer to, and a time of use for everything.
//!
//! The time of a link is the time of its last use, more or less: it is written anew when it is an eighth of the time old after
//! which it goes, so that few reads write.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use transom_oci::Digest;
use transom_storage::StoragePath;

use super::gc::is_old;
use super::manifests::Written;
use super::{Blob, Store, Stored};
use crate::error::Result;
use crate::manifest::Manifest;
use crate::names::{RepositoryName, Tag};
use crate::{Error, layout, limits};

/// A manifest that came from another registry; its digest is checked.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What was forgotten because nobody used it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Manifests.
    pub manifests: u64,
    /// Blobs.
    pub blobs: u64,
}

impl Store {
    /// Keeps a manifest whose blobs may come later or never, and points a tag at it. It may be here already.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::DigestMismatch`].
    pub async fn keep_arrived(
        &self,
        repository: &RepositoryName,
        tag: Option<&Tag>,
        arrived: Arrived,
    ) -> Result<Arc<Stored>> {
        let Arrived { digest, bytes, .. } = &arrived;
        let found = Digest::of(digest.algorithm(), bytes);
        if found != *digest {
            let wanted = digest.clone();
            return Err(Error::DigestMismatch { wanted, found });
        }
        if arrived.media_type.len() > limits::MEDIA_TYPE_BYTES {
            let most = limits::MEDIA_TYPE_BYTES;
            let reason = format!("its media type has more than {most} bytes");
            return Err(Error::ManifestInvalid(reason));
        }
        let manifest = Manifest::read(bytes)?;
        let _shared = self.inner.locks.shared(repository).await;
        let written = Written {
            digest,
            bytes,
            manifest: &manifest,
            media_type: &arrived.media_type,
        };
        self.write_manifest(repository, written, tag.map_or(&[], std::slice::from_ref))
            .await?;
        let stored = Arc::new(Stored {
            digest: arrived.digest,
            media_type: arrived.media_type,
            bytes: arrived.bytes,
        });
        Ok(stored)
    }

    /// Whether the bytes of a blob are here, in whatever repository.
    ///
    /// # Errors
    /// The driver's.
    pub async fn has_bytes(&self, digest: &Digest) -> Result<bool> {
        self.exists(&layout::blob(digest)?).await
    }

    /// Makes a blob known in a repository whose bytes another one has, if they are as many as they must be.
    ///
    /// # Errors
    /// The driver's.
    pub async fn adopt(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Blob>> {
        let path = layout::blob(digest)?;
        if !self.is_whole(&path, size).await? {
            return Ok(None);
        }
        let _shared = self.inner.locks.shared(repository).await;
        self.link(&layout::layer_link(repository, digest)?, digest)
            .await?;
        let digest = digest.clone();
        Ok(Some(Blob { digest, size, path }))
    }

    /// Notes that a blob is used, which goes when nobody uses it for `ttl`.
    ///
    /// # Errors
    /// The driver's.
    pub async fn use_blob(&self, repository: &RepositoryName, digest: &Digest, ttl: Duration) -> Result<()> {
        let link = layout::layer_link(repository, digest)?;
        self.used(repository, &link, digest, ttl).await
    }

    /// The same of a manifest.
    ///
    /// # Errors
    /// The driver's.
    pub async fn use_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        ttl: Duration,
    ) -> Result<()> {
        let link = layout::revision_link(repository, digest)?;
        self.used(repository, &link, digest, ttl).await
    }

    async fn used(
        &self,
        repository: &RepositoryName,
        link: &StoragePath,
        digest: &Digest,
        ttl: Duration,
    ) -> Result<()> {
        let limit = SystemTime::now().checked_sub(ttl / 8);
        match self.driver().stat(link).await {
            Ok(entry) if is_old(entry.modified(), limit) => {
                // What is deleted at this moment must not come back.
                let _shared = self.inner.locks.shared(repository).await;
                match self.exists(link).await? {
                    true => self.link(link, digest).await,
                    false => Ok(()),
                }
            }
            Ok(_) => Ok(()),
            // It went meanwhile, and comes back when it is asked for again.
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(Error::Storage(error)),
        }
    }

    /// Forgets what nobody has used in a repository for `ttl`: manifests with the tags that point at them, and blobs. Their bytes
    /// stay until garbage is collected.
    ///
    /// # Errors
    /// The driver's.
    pub async fn evict(&self, repository: &RepositoryName, ttl: Duration) -> Result<Evicted> {
        let limit = SystemTime::now().checked_sub(ttl);
        let mut evicted = Evicted::default();
        for link in self.links(&layout::revisions(repository)?).await? {
            if !is_old(link.modified, limit) {
                continue;
            }
            match self.delete_manifest(repository, &link.digest).await {
                Ok(_) => evicted.manifests += 1,
                Err(Error::ManifestUnknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for link in self.links(&layout::layers(repository)?).await? {
            if is_old(link.modified, limit) && self.forget_link(repository, &link.digest, limit).await? {
                evicted.blobs += 1;
            }
        }
        Ok(evicted)
    }
}
