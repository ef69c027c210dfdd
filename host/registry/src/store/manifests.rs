//! Manifests: blobs that are kept byte for byte, a link that makes one known in a repository, and what hangs on them: tags, and
//! referrers of other manifests.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use transom_oci::{Algorithm, Descriptor, Digest};
use transom_storage::Put;

use super::referrers::referrer;
use super::{Store, link};
use crate::error::{Result, absent};
use crate::index::Change;
use crate::manifest::{Manifest, Needed, plain_type};
use crate::names::{Reference, RepositoryName, Tag};
use crate::{Error, layout, limits};

/// The media type of a manifest about which nothing is known.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// A manifest as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// The media type that it was pushed as.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A manifest that is pushed.
#[derive(Clone, Debug)]
pub struct ManifestPush<'p> {
    /// The digest that it must have, and is to be kept under. Without one, its sha256.
    pub digest: Option<&'p Digest>,
    /// The tags to point at it.
    pub tags: &'p [Tag],
    /// The media type that the client says.
    pub media_type: Option<&'p str>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A manifest that was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
    /// What it refers to.
    pub references: Vec<Descriptor>,
}

impl Store {
    /// Finds a manifest.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`].
    pub async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<Arc<Stored>> {
        let digest = match reference {
            // Whoever deletes a manifest deletes its tags first.
            Reference::Tag(tag) => self.tag(repository, tag).await?,
            Reference::Digest(digest) => {
                let missing = || Error::manifest_unknown(repository, digest);
                self.linked(&layout::revision_link(repository, digest)?, missing)
                    .await?
            }
        };
        let unknown = |error| match error {
            Error::ManifestUnknown { .. } => Error::ManifestUnknown {
                repository: repository.clone(),
                reference: reference.clone(),
            },
            error => error,
        };
        self.stored(repository, &digest).await.map_err(unknown)
    }

    /// The content of a manifest that the repository has.
    async fn stored(&self, repository: &RepositoryName, digest: &Digest) -> Result<Arc<Stored>> {
        if let Some(manifest) = self.inner.cache.get(repository, digest) {
            return Ok(manifest);
        }
        let missing = || Error::manifest_unknown(repository, digest);
        let (path, limit) = (layout::blob(digest)?, self.largest());
        let bytes = self.driver().get(&path, limit).await.map_err(absent(missing))?;
        let found = Digest::of(digest.algorithm(), &bytes);
        if found != *digest {
            return Err(Error::Damaged {
                path: path.to_string(),
                reason: format!("its digest is {found}"),
            });
        }
        let media_type = self.media_type(repository, digest, &bytes).await?;
        let manifest = Arc::new(Stored {
            digest: digest.clone(),
            media_type,
            bytes,
        });
        self.inner.cache.insert(repository, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Bytes of the largest manifest that is read: one that was pushed when more was allowed, too.
    fn largest(&self) -> u64 {
        self.options().manifest_bytes.max(limits::MANIFEST_BYTES)
    }

    /// The media type: what the content says, or else what was noted when it was pushed.
    async fn media_type(&self, repository: &RepositoryName, digest: &Digest, bytes: &[u8]) -> Result<String> {
        let manifest = Manifest::read(bytes).ok();
        if let Some(said) = manifest.as_ref().and_then(|manifest| manifest.media_type.clone())
            && !said.is_empty()
        {
            return Ok(said);
        }
        let path = layout::media_type(repository, digest)?;
        match self.driver().get(&path, limits::MEDIA_TYPE_BYTES as u64).await {
            Ok(noted) => Ok(String::from_utf8_lossy(&noted).into_owned()),
            Err(error) if error.is_not_found() => {
                let shown = manifest.as_ref().and_then(Manifest::shown_type);
                Ok(shown.unwrap_or(UNKNOWN_TYPE).to_owned())
            }
            Err(error) => Err(Error::Storage(error)),
        }
    }

    /// Takes a manifest.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::DigestMismatch`], [`Error::ReferencesUnknown`].
    pub async fn push_manifest(&self, repository: &RepositoryName, push: ManifestPush<'_>) -> Result<Pushed> {
        let manifest = Manifest::read(&push.bytes)?;
        let media_type = pushed_type(&manifest, push.media_type)?;
        manifest.check(&media_type)?;
        let algorithm = push.digest.map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = Digest::of(algorithm, &push.bytes);
        if let Some(wanted) = push.digest
            && *wanted != digest
        {
            return Err(Error::DigestMismatch {
                wanted: wanted.clone(),
                found: digest,
            });
        }
        let _shared = self.inner.locks.shared(repository).await;
        self.check_needed(repository, &manifest).await?;
        let written = Written {
            digest: &digest,
            bytes: &push.bytes,
            manifest: &manifest,
            media_type: &media_type,
        };
        self.write_manifest(repository, written, push.tags).await?;
        Ok(Pushed {
            digest,
            media_type,
            subject: manifest.subject.as_ref().map(|subject| subject.digest.clone()),
            references: manifest.references(),
        })
    }

    /// Checks that everything is there that a manifest needs.
    async fn check_needed(&self, repository: &RepositoryName, manifest: &Manifest) -> Result<()> {
        let mut seen = HashSet::new();
        let needed = manifest.needed().filter(|needed| {
            let optional = self.options().sparse_indexes && matches!(needed, Needed::Manifest(_));
            !optional && seen.insert(needed.digest())
        });
        let owned = |needed: Needed<'_>| (matches!(needed, Needed::Manifest(_)), needed.digest().clone());
        let needed: Vec<(bool, Digest)> = needed.map(owned).collect();
        let looked_up = needed.into_iter().map(|(manifest, digest)| async move {
            // Caches of builds list blobs as if they were manifests.
            let there = manifest && self.has_manifest(repository, &digest).await?;
            let there = there || self.has_blob(repository, &digest).await?;
            if there {
                self.renew_all(repository, &digest).await?;
            }
            Ok::<_, Error>((!there).then_some(digest))
        });
        let missing: Vec<Digest> = stream::iter(looked_up)
            .buffered(limits::LOOK_UPS)
            .try_filter_map(|missing| async move { Ok(missing) })
            .try_collect()
            .await?;
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Error::ReferencesUnknown(missing)),
        }
    }

    /// Renews what this repository knows of a digest, as a blob and as a manifest.
    async fn renew_all(&self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        let (blob, manifest) = (
            layout::layer_link(repository, digest)?,
            layout::revision_link(repository, digest)?,
        );
        tokio::try_join!(self.renew(&blob, digest), self.renew(&manifest, digest))?;
        Ok(())
    }

    async fn has_manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        let (link, blob) = (layout::revision_link(repository, digest)?, layout::blob(digest)?);
        let (linked, there) = tokio::try_join!(self.exists(&link), self.exists(&blob))?;
        Ok(linked && there)
    }

    /// Brings a manifest with tags to the driver; the repository is locked, and the manifest checked.
    pub(super) async fn write_manifest(
        &self,
        repository: &RepositoryName,
        written: Written<'_>,
        tags: &[Tag],
    ) -> Result<()> {
        let Written {
            digest,
            bytes,
            manifest,
            media_type,
        } = written;
        let change = Change::begin(self.index(), repository).await;
        let mut first = Vec::new();
        first.extend(self.bytes_of(digest, bytes).await?);
        first.extend(type_of(repository, digest, manifest, media_type)?);
        if let Some(subject) = &manifest.subject {
            first.push(referrer(repository, &subject.digest, digest)?);
        }
        let known = link(layout::revision_link(repository, digest)?, digest);
        self.put_all(vec![first, vec![known]]).await?;
        self.set_tags(repository, tags, digest).await?;
        change.pushed(tags).await;
        self.inner.cache.remove(repository, digest);
        Ok(())
    }

    /// The bytes, if they are not there yet.
    async fn bytes_of(&self, digest: &Digest, bytes: &Bytes) -> Result<Option<Put>> {
        let (path, content) = (layout::blob(digest)?, bytes.clone());
        let there = self.is_whole(&path, bytes.len() as u64).await?;
        Ok((!there).then_some(Put { path, content }))
    }

    /// Deletes a manifest with the tags that point at it, which are given.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`].
    pub async fn delete_manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<Vec<Tag>> {
        let _alone = self.inner.locks.alone(repository).await;
        let missing = || Error::manifest_unknown(repository, digest);
        self.linked(&layout::revision_link(repository, digest)?, missing)
            .await?;
        let tags = self.tags_of(repository, digest).await?;
        let change = Change::begin(self.index(), repository).await;
        for tag in &tags {
            self.remove(&layout::tag(repository, tag)?).await?;
        }
        let removed = self.delete_revision(repository, digest).await?;
        self.removed(change, repository, &tags).await?;
        match removed {
            true => Ok(tags),
            false => Err(missing()),
        }
    }

    /// Makes a manifest unknown that no tag points at; says whether it was known.
    pub(super) async fn delete_revision(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        // One that cannot be read has no subject that anybody could ask for.
        if let Ok(stored) = self.stored(repository, digest).await
            && let Ok(Some(subject)) = Manifest::read(&stored.bytes).map(|manifest| manifest.subject)
        {
            self.remove(&layout::referrer(repository, &subject.digest, digest)?)
                .await?;
        }
        self.inner.cache.remove(repository, digest);
        self.remove(&layout::revision(repository, digest)?).await
    }

    /// The tags that point at a manifest.
    async fn tags_of(&self, repository: &RepositoryName, digest: &Digest) -> Result<Vec<Tag>> {
        let entries = self.listed(&layout::tags(repository)?).await?;
        let tags = entries
            .iter()
            .filter_map(|entry| Tag::new(entry.path.name()).ok());
        let tags: Vec<Tag> = tags.collect();
        // Boxed: the compiler cannot see otherwise that they may change threads.
        let looked_up = tags.into_iter().map(|tag| {
            let looked_up = async move {
                match self.tag(repository, &tag).await {
                    Ok(target) => Ok((target == *digest).then_some(tag)),
                    Err(Error::ManifestUnknown { .. } | Error::Damaged { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            };
            looked_up.boxed()
        });
        let tags = stream::iter(looked_up).buffered(limits::LOOK_UPS);
        tags.try_filter_map(|tag| async move { Ok(tag) })
            .try_collect()
            .await
    }
}

/// A manifest on its way to the driver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'m> {
    pub(super) digest: &'m Digest,
    pub(super) bytes: &'m Bytes,
    pub(super) manifest: &'m Manifest,
    pub(super) media_type: &'m str,
}

/// The media type as it is noted, if the content does not show it.
fn type_of(
    repository: &RepositoryName,
    digest: &Digest,
    manifest: &Manifest,
    media_type: &str,
) -> Result<Option<Put>> {
    if manifest.shown_type() == Some(media_type) {
        return Ok(None);
    }
    let path = layout::media_type(repository, digest)?;
    let content = Bytes::copy_from_slice(media_type.as_bytes());
    Ok(Some(Put { path, content }))
}

/// The media type of a push: what the client says, or else what the content shows.
fn pushed_type(manifest: &Manifest, said: Option<&str>) -> Result<String> {
    let said = said.map(plain_type).filter(|said| !said.is_empty());
    let media_type = match (said, manifest.shown_type()) {
        (Some(said), _) => said,
        (None, Some(shown)) => shown.to_owned(),
        (None, None) => {
            let reason = "neither Content-Type nor mediaType says what it is";
            return Err(Error::ManifestInvalid(reason.to_owned()));
        }
    };
    if media_type.len() > limits::MEDIA_TYPE_BYTES {
        let most = limits::MEDIA_TYPE_BYTES;
        return Err(Error::ManifestInvalid(format!(
            "its media type has more than {most} bytes"
        )));
    }
    Ok(media_type)
}
