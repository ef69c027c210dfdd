//! Manifests of other registries. By digest, one that is here is never asked for again; by tag, the other registry says where it
//! points, and while it cannot be asked, what is here is given.

use std::sync::Arc;

use transom_client::registry::Fetched;
use transom_oci::Digest;

use super::metrics::Kind;
use super::upstream::Upstream;
use super::{Inner, Proxies};
use crate::Error;
use crate::error::Result;
use crate::names::{Reference, RepositoryName, Tag};
use crate::store::{Arrived, Stored};

impl Proxies {
    pub(super) async fn find_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Arc<Stored>> {
        let upstream = self.inner.upstream(name)?;
        let here = self.inner.here(&upstream, name, reference).await?;
        let tag = match (reference, &here) {
            (Reference::Digest(_), Some(stored)) => {
                self.inner.metrics.hit(Kind::Manifest);
                return Ok(Arc::clone(stored));
            }
            (Reference::Digest(_), None) => None,
            (Reference::Tag(tag), _) => Some(tag),
        };
        if let (Some(tag), Some(stored)) = (tag, &here) {
            if upstream.is_fresh(name, tag) {
                self.inner.metrics.hit(Kind::Manifest);
                return Ok(Arc::clone(stored));
            }
            if upstream.is_down() {
                self.inner.metrics.hit(Kind::Manifest);
                self.inner.metrics.stale(Kind::Manifest);
                return Ok(Arc::clone(stored));
            }
        }
        self.inner.metrics.miss(Kind::Manifest);
        let found = self.ask(upstream, name, reference).await;
        match (found, here) {
            (Err(error), Some(stored)) if is_passing(&error) => {
                self.inner.metrics.stale(Kind::Manifest);
                let (repository, digest) = (name.as_str(), stored.digest.as_str());
                tracing::warn!(repository, %reference, digest, "given as it was when it was last asked for");
                Ok(stored)
            }
            (Err(error), Some(_)) if matches!(error.cause(), Error::ManifestUnknown { .. }) => {
                if let Some(tag) = tag {
                    self.inner.forget(name, tag).await?;
                }
                Err(error)
            }
            (found, _) => found,
        }
    }

    /// Asks the other registry; those who want the same at the same time wait for one answer.
    async fn ask(
        &self,
        upstream: Arc<Upstream>,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Arc<Stored>> {
        let key = (name.clone(), reference.clone());
        let (inner, (name, reference)) = (Arc::clone(&self.inner), key.clone());
        let work = |landing| async move {
            let _landing = landing;
            match &reference {
                Reference::Digest(digest) => inner.fetch(&upstream, &name, None, digest).await,
                Reference::Tag(tag) => inner.look(&upstream, &name, tag).await,
            }
        };
        self.inner.manifests.join(key, work).await
    }
}

/// Whether it may be another answer tomorrow, so that yesterday's is better than none. Who was refused gets nothing.
fn is_passing(error: &Error) -> bool {
    matches!(
        error.cause(),
        Error::UpstreamUnavailable { .. } | Error::UpstreamBusy { .. } | Error::UpstreamWrong { .. }
    )
}

impl Inner {
    /// What the store has, which is used now.
    async fn here(
        &self,
        upstream: &Upstream,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Arc<Stored>>> {
        let stored = match self.store.manifest(name, reference).await {
            Ok(stored) => stored,
            // What is damaged comes anew.
            Err(Error::ManifestUnknown { .. } | Error::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(ttl) = upstream.ttl() {
            self.store.use_manifest(name, &stored.digest, ttl).await?;
        }
        Ok(Some(stored))
    }

    /// Finds out where a tag points, and has that.
    async fn look(&self, upstream: &Upstream, name: &RepositoryName, tag: &Tag) -> Result<Arc<Stored>> {
        let reference = Reference::Tag(tag.clone());
        let unknown = || Error::tag_unknown(name, tag);
        let remote = upstream.remote(name)?;
        let found = match self.here(upstream, name, &reference).await? {
            // The whole of it costs as many requests as its digest.
            None => {
                let fetched = remote.manifest(tag.as_str()).await;
                let fetched = fetched.map_err(|error| upstream.meaning(&error, unknown))?;
                self.keep(upstream, name, Some(tag), fetched).await?
            }
            Some(here) => {
                let target = remote.resolve(tag.as_str()).await;
                let target = target.map_err(|error| upstream.meaning(&error, unknown))?;
                match target.digest == here.digest {
                    true => here,
                    false => self.fetch(upstream, name, Some(tag), &target.digest).await?,
                }
            }
        };
        upstream.looked(name, tag);
        Ok(found)
    }

    /// Has a manifest by its digest, and points a tag at it.
    async fn fetch(
        &self,
        upstream: &Upstream,
        name: &RepositoryName,
        tag: Option<&Tag>,
        digest: &Digest,
    ) -> Result<Arc<Stored>> {
        let reference = Reference::Digest(digest.clone());
        if let Some(stored) = self.here(upstream, name, &reference).await? {
            if tag.is_some() {
                let arrived = Arrived {
                    digest: stored.digest.clone(),
                    media_type: stored.media_type.clone(),
                    bytes: stored.bytes.clone(),
                };
                self.store.keep_arrived(name, tag, arrived).await?;
            }
            return Ok(stored);
        }
        let fetched = upstream.remote(name)?.manifest(digest.as_str()).await;
        let unknown = || Error::manifest_unknown(name, digest);
        let fetched = fetched.map_err(|error| upstream.meaning(&error, unknown))?;
        self.keep(upstream, name, tag, fetched).await
    }

    async fn keep(
        &self,
        upstream: &Upstream,
        name: &RepositoryName,
        tag: Option<&Tag>,
        fetched: Fetched,
    ) -> Result<Arc<Stored>> {
        self.metrics.pulled(Kind::Manifest, fetched.bytes.len());
        let arrived = Arrived {
            digest: fetched.descriptor.digest,
            media_type: fetched.descriptor.media_type,
            bytes: fetched.bytes,
        };
        match self.store.keep_arrived(name, tag, arrived).await {
            Ok(stored) => {
                self.remember(name, &stored.bytes);
                Ok(stored)
            }
            Err(Error::ManifestInvalid(reason)) => Err(upstream.wrong(reason)),
            Err(error) => Err(error),
        }
    }

    /// The other registry does not have the tag any more.
    async fn forget(&self, name: &RepositoryName, tag: &Tag) -> Result<()> {
        match self.store.delete_tag(name, tag).await {
            Ok(_) | Err(Error::ManifestUnknown { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
