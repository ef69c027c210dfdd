//! Referrers: manifests that are about another one, their subject, which need not be there.
//!
//! A push writes a link below the subject's digest, so that the driver knows them. Clients of registries without referrers
//! keep them in an index under a tag made of the subject's digest; what is there is listed too. What a docker-registry took, it
//! has written no links of: the index knows them once it was built.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use transom_oci::{Descriptor, Digest, media_type};
use transom_storage::Put;

use super::{Page, Store, Stored, link};
use crate::error::Result;
use crate::manifest::Manifest;
use crate::names::{Reference, RepositoryName, Tag};
use crate::{Error, layout, limits};

/// Which referrers are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Referrers<'r> {
    /// The manifest that they are about.
    pub subject: &'r Digest,
    /// Only of this type.
    pub artifact_type: Option<&'r str>,
    /// Only after this one, in the order of digests.
    pub last: Option<&'r str>,
    /// How many at most.
    pub most: usize,
}

impl Store {
    /// The manifests about one, in the order of their digests. None if there are none, also in a repository that is not there.
    ///
    /// # Errors
    /// The driver's.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        asked: Referrers<'_>,
    ) -> Result<Page<Descriptor>> {
        // Those of old clients come with their descriptors, the others are to be read.
        let mut all: BTreeMap<Digest, Option<Descriptor>> = BTreeMap::new();
        for descriptor in self.tagged_referrers(repository, asked.subject).await? {
            all.insert(descriptor.digest.clone(), Some(descriptor));
        }
        for digest in self.linked_referrers(repository, asked.subject).await? {
            all.insert(digest, None);
        }
        for digest in self.indexed_referrers(repository, asked.subject).await {
            all.insert(digest, None);
        }
        all.retain(|digest, _| asked.last.is_none_or(|last| digest.as_str() > last));
        let read = all.into_iter().map(|(digest, descriptor)| async move {
            match descriptor {
                Some(descriptor) => Ok(Some(descriptor)),
                None => self.described(repository, digest).await,
            }
        });
        let mut read = stream::iter(read).buffered(limits::LOOK_UPS);
        let mut items = Vec::new();
        while let Some(descriptor) = read.next().await {
            let Some(descriptor) = descriptor? else {
                continue;
            };
            let other = |wanted: &str| descriptor.artifact_type.as_deref() != Some(wanted);
            if asked.artifact_type.is_some_and(other) {
                continue;
            }
            if items.len() == asked.most {
                return Ok(Page { items, more: true });
            }
            items.push(descriptor);
        }
        Ok(Page { items, more: false })
    }

    async fn linked_referrers(&self, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in self.listed(&layout::referrers(repository, subject)?).await? {
            let folders = self.listed(&algorithm.path).await?;
            digests.extend(folders.iter().filter_map(|entry| layout::digest_of(&entry.path)));
        }
        Ok(digests)
    }

    /// What clients keep under the tag `<algorithm>-<hex>` where they think that the registry has no referrers.
    async fn tagged_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>> {
        let reference = Reference::Tag(fallback_tag(subject)?);
        let stored = match self.manifest(repository, &reference).await {
            Ok(stored) => stored,
            Err(Error::ManifestUnknown { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let index = match media_type::is_index(&stored.media_type) {
            true => Manifest::read(&stored.bytes).ok(),
            false => None,
        };
        Ok(index.map(|index| index.manifests).unwrap_or_default())
    }

    /// How a manifest is listed; `None` if it is gone.
    async fn described(&self, repository: &RepositoryName, digest: Digest) -> Result<Option<Descriptor>> {
        let stored = match self.manifest(repository, &Reference::Digest(digest)).await {
            Ok(stored) => stored,
            Err(Error::ManifestUnknown { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Manifest::read(&stored.bytes)
            .ok()
            .map(|manifest| describe(&stored, manifest)))
    }
}

/// What makes a manifest known as one about another one.
pub(super) fn referrer(repository: &RepositoryName, subject: &Digest, digest: &Digest) -> Result<Put> {
    let folder = layout::referrer(repository, subject, digest)?;
    Ok(link(folder.join("link")?, digest))
}

fn describe(stored: &Stored, manifest: Manifest) -> Descriptor {
    let size = stored.bytes.len() as u64;
    let mut descriptor = Descriptor::new(stored.media_type.clone(), stored.digest.clone(), size);
    descriptor.artifact_type = manifest.artifact().map(str::to_owned);
    descriptor.annotations = manifest.annotations;
    descriptor
}

/// The tag of the fallback: the digest with `-` for `:`, cut to 32 and 64 bytes.
fn fallback_tag(subject: &Digest) -> Result<Tag> {
    const HEX: usize = 64;
    let hex = subject.hex();
    let hex = &hex[..hex.len().min(HEX)];
    Tag::new(&format!("{}-{hex}", subject.algorithm())).map_err(Error::Name)
}
