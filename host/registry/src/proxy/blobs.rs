//! Blobs of other registries: those that are here, those that arrive, and those that somebody asks for first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;
use transom_client::Remote;
use transom_oci::{Descriptor, Digest};

use super::arrival::{Arrival, Shown};
use super::flights::Landing;
use super::limits::SIZES;
use super::metrics::Kind;
use super::upstream::Upstream;
use super::{BlobKey, Inner, Proxies};
use crate::Error;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::names::RepositoryName;
use crate::source::Content;
use crate::store::OpenUpload;

/// The type of bytes of which nothing else is known.
const BYTES: &str = "application/octet-stream";

impl Proxies {
    pub(super) async fn find_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Content> {
        let inner = &self.inner;
        let upstream = inner.upstream(name)?;
        if inner.has_blob(&upstream, name, digest).await?.is_some() {
            inner.metrics.hit(Kind::Blob);
            return Ok(Content::Stored);
        }
        inner.metrics.miss(Kind::Blob);
        let key = (name.clone(), digest.clone());
        let (inner, key_of_task) = (Arc::clone(inner), key.clone());
        let work = |landing| async move { inner.begin(upstream, key_of_task, landing).await };
        self.inner.blobs.join(key, work).await
    }

    pub(super) async fn find_size(&self, name: &RepositoryName, digest: &Digest) -> Result<u64> {
        let inner = &self.inner;
        let upstream = inner.upstream(name)?;
        if let Some(size) = inner.has_blob(&upstream, name, digest).await? {
            inner.metrics.hit(Kind::Blob);
            return Ok(size);
        }
        inner.metrics.miss(Kind::Blob);
        let (name, digest) = (name.clone(), digest.clone());
        let work = |landing: Landing<BlobKey, u64>| {
            let (name, digest) = (name.clone(), digest.clone());
            async move {
                let _landing = landing;
                let size = upstream.remote(&name)?.blob_size(&digest).await;
                size.map_err(|error| upstream.meaning(&error, || Error::blob_unknown(&name, &digest)))
            }
        };
        inner.sizes.join((name.clone(), digest.clone()), work).await
    }
}

impl Inner {
    /// The size of a blob that is here, which is used now.
    async fn has_blob(
        &self,
        upstream: &Upstream,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<u64>> {
        let size = match self.store.blob(name, digest).await {
            Ok(blob) => blob.size,
            Err(Error::BlobUnknown { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(ttl) = upstream.ttl() {
            self.store.use_blob(name, digest, ttl).await?;
        }
        Ok(Some(size))
    }

    /// Has a blob come, and waits for its first bytes. Whether the other registry has it in this repository is asked in any case:
    /// that the bytes are here because of another repository says nothing.
    async fn begin(
        self: Arc<Self>,
        upstream: Arc<Upstream>,
        key: BlobKey,
        landing: Landing<BlobKey, Content>,
    ) -> Result<Content> {
        let (name, digest) = &key;
        // Somebody else may have ended it a moment ago.
        if self.has_blob(&upstream, name, digest).await?.is_some() {
            return Ok(Content::Stored);
        }
        let place = Arc::clone(&self.arriving).acquire_owned().await;
        let place = place.map_err(|_| Error::TooBusy)?;
        let remote = upstream.remote(name)?;
        let Some(size) = self.size_to_come(&upstream, &remote, &key).await? else {
            return Ok(Content::Stored);
        };
        let upload = self.store.new_upload(name, digest.algorithm()).await?;
        let arrival = Arrival::new(upload.file(), digest, size, self.folder.as_deref()).await;
        let (arrival, upload) = match arrival {
            Ok(arrival) => (Arc::new(arrival), upload),
            Err(error) => {
                upload.cancel().await?;
                return Err(error);
            }
        };
        let task = Coming {
            inner: self,
            upstream,
            remote,
            descriptor: Descriptor::new(BYTES, digest.clone(), size),
            name: name.clone(),
            arrival: Arc::clone(&arrival),
            _place: place,
        };
        tokio::spawn(task.run(upload, landing));
        arrival.begun().await?;
        Ok(Content::Elsewhere(Arc::new(Shown(arrival))))
    }
}

impl Inner {
    /// The size of a blob that is to come; `None` if it is here now, because the other registry has one in this repository that
    /// another one has here.
    async fn size_to_come(&self, upstream: &Upstream, remote: &Remote, key: &BlobKey) -> Result<Option<u64>> {
        let (name, digest) = key;
        // The manifest came from there: what it says spares a question, unless the answer to it could spare the blob.
        let said = lock(&self.said).get(key).copied();
        if let Some(said) = said
            && !self.store.has_bytes(digest).await?
        {
            return Ok(Some(said));
        }
        let size = remote.blob_size(digest).await;
        let size = size.map_err(|error| upstream.meaning(&error, || Error::blob_unknown(name, digest)))?;
        let adopted = self.store.adopt(name, digest, size).await?;
        Ok(adopted.is_none().then_some(size))
    }

    /// Remembers what a manifest says of the sizes of its blobs.
    pub(super) fn remember(&self, name: &RepositoryName, manifest: &[u8]) {
        let Ok(manifest) = Manifest::read(manifest) else {
            return;
        };
        let mut said = lock(&self.said);
        for blob in manifest.config.iter().chain(&manifest.layers) {
            if said.len() >= SIZES {
                said.clear();
            }
            said.insert((name.clone(), blob.digest.clone()), blob.size);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A blob that comes. It goes on when all who wanted it have left: somebody will want it again.
struct Coming {
    inner: Arc<Inner>,
    upstream: Arc<Upstream>,
    remote: Remote,
    descriptor: Descriptor,
    name: RepositoryName,
    arrival: Arc<Arrival>,
    _place: OwnedSemaphorePermit,
}

impl Coming {
    async fn run(self, upload: OpenUpload, landing: Landing<BlobKey, Content>) {
        let ended = self.store(upload).await;
        if let Err(error) = &ended {
            let (repository, digest) = (self.name.as_str(), self.descriptor.digest.as_str());
            tracing::warn!(repository, digest, %error, "a blob of another registry did not arrive");
        }
        // From now on it is looked for anew: in the store, or once more there.
        drop(landing);
        self.arrival.end(ended.map_err(Arc::new));
    }

    async fn store(&self, mut upload: OpenUpload) -> Result<()> {
        match self.fill(&mut upload).await {
            Ok(()) => {
                self.arrival.show_all();
                upload.commit(&self.name, &self.descriptor.digest).await
            }
            Err(error) => {
                upload.cancel().await?;
                Err(error)
            }
        }
    }

    /// Has all bytes come, and compares their digest.
    async fn fill(&self, upload: &mut OpenUpload) -> Result<()> {
        let digest = &self.descriptor.digest;
        let meaning = |error: transom_client::Error| {
            self.upstream
                .meaning(&error, || Error::blob_unknown(&self.name, digest))
        };
        let reader = self.remote.part(&self.descriptor, 0, self.descriptor.size);
        let metrics = &self.inner.metrics;
        let pulled = |bytes| metrics.pulled(Kind::Blob, bytes);
        let (came, written) = self.arrival.take(reader.map_err(meaning)?, upload, pulled).await;
        written?;
        came.map_err(meaning)?;
        match upload.digest() {
            Some(found) if found == *digest => Ok(()),
            Some(found) => Err(self
                .upstream
                .wrong(format!("other bytes than {digest}: their digest is {found}"))),
            None => Err(Error::TooBusy),
        }
    }
}
