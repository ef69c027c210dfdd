//! Tags: names that point at manifests.

use transom_oci::Digest;

use super::{Page, Store, link};
use crate::error::Result;
use crate::index::{Change, List};
use crate::names::{RepositoryName, Tag};
use crate::{Error, layout};

impl Store {
    /// What a tag points at.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`].
    pub async fn tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Digest> {
        let missing = || Error::tag_unknown(repository, tag);
        self.linked(&layout::tag_link(repository, tag)?, missing).await
    }

    /// Tags in the order of their bytes, after `last`, `most` of them at most.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`].
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        last: Option<&str>,
        most: usize,
    ) -> Result<Page<String>> {
        let folder = layout::tags(repository)?;
        let known = self.indexed_tags(repository, &folder, last, most).await?;
        self.count(List::Tags, known.is_some());
        if let Some(page) = known {
            return Ok(page);
        }
        let entries = self.list_tags(repository, &folder).await?;
        if entries.is_empty() && self.listed(&layout::repository(repository)?).await?.is_empty() {
            return Err(Error::RepositoryUnknown(repository.clone()));
        }
        // In one folder, the order of paths is that of the bytes of their names.
        let begin = last.map_or(0, |last| {
            entries.partition_point(|entry| entry.path.name() <= last)
        });
        let mut rest = entries[begin..].iter().filter(|entry| entry.is_folder());
        let items = rest.by_ref().take(most);
        let items = items.map(|entry| entry.path.name().to_owned()).collect();
        Ok(Page {
            items,
            more: rest.next().is_some(),
        })
    }

    /// Points tags at a manifest that survives a power cut already.
    pub(super) async fn set_tags(
        &self,
        repository: &RepositoryName,
        tags: &[Tag],
        digest: &Digest,
    ) -> Result<()> {
        let (mut indexed, mut current) = (Vec::new(), Vec::new());
        for tag in tags {
            // docker-registry's collector looks for what a tag once pointed at.
            indexed.push(link(layout::tag_index_link(repository, tag, digest)?, digest));
            current.push(link(layout::tag_link(repository, tag)?, digest));
        }
        match tags.is_empty() {
            true => Ok(()),
            false => self.put_all(vec![indexed, current]).await,
        }
    }

    /// Deletes a tag. The manifest stays. Gives what the tag pointed at.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`].
    pub async fn delete_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Digest> {
        let _alone = self.inner.locks.alone(repository).await;
        let digest = self.tag(repository, tag).await?;
        let change = Change::begin(self.index(), repository).await;
        let removed = self.remove(&layout::tag(repository, tag)?).await?;
        self.removed(change, repository, std::slice::from_ref(tag))
            .await?;
        match removed {
            true => Ok(digest),
            false => Err(Error::tag_unknown(repository, tag)),
        }
    }
}
