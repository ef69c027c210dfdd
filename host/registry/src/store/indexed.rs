//! Lists from the index, where something proves that the driver would say the same.

use std::slice;

use transom_meta::kv::KvError;
use transom_oci::Digest;
use transom_storage::{Entry, StoragePath};

use super::{Page, Store};
use crate::error::Result;
use crate::index::{Change, Index, List, Proof};
use crate::limits;
use crate::names::{RepositoryName, Tag};

impl Store {
    /// Gives the store an index, which is used from now on. One that relies on this process being the only writer must be
    /// given before anything is written. A second one is not taken.
    pub fn use_index(&self, index: Index) {
        if self.inner.index.set(index).is_err() {
            tracing::debug!("the store has an index already");
        }
    }

    /// The index, if there is one, and it is of use.
    #[must_use]
    pub fn index(&self) -> Option<&Index> {
        self.inner.index.get().filter(|index| index.speaks())
    }

    /// Counts a list that somebody asked for.
    pub(super) fn count(&self, list: List, from_index: bool) {
        if let Some(index) = self.index() {
            index.count(list, from_index);
        }
    }

    /// A page of tags, if the index knows it.
    pub(super) async fn indexed_tags(
        &self,
        repository: &RepositoryName,
        folder: &StoragePath,
        last: Option<&str>,
        most: usize,
    ) -> Result<Option<Page<String>>> {
        let Some(index) = self.index() else {
            return Ok(None);
        };
        let found = known_tags(index, repository, last, most).await;
        let Some((proof, mut items)) = found.unwrap_or_else(|error| {
            index.failed(&error);
            None
        }) else {
            return Ok(None);
        };
        if !self.proves(&proof, folder).await? {
            return Ok(None);
        }
        let more = items.len() > most;
        items.truncate(most);
        Ok(Some(Page { items, more }))
    }

    /// The tags of a repository by the driver. What can be proved is kept in the index.
    pub(super) async fn list_tags(
        &self,
        repository: &RepositoryName,
        folder: &StoragePath,
    ) -> Result<Vec<Entry>> {
        let Some(index) = self.index() else {
            return self.listed(folder).await;
        };
        let before = index.before_tags(repository).await;
        let proof = self.proof(index, folder).await?;
        let entries = self.listed(folder).await?;
        let folders = entries.iter().filter(|entry| entry.is_folder());
        let names: Vec<&str> = folders.map(|entry| entry.path.name()).collect();
        // A repository without tags is listed anew each time: whether it is there at all is another question.
        if proof != Proof::None && (1..=limits::INDEX_TAGS).contains(&names.len()) {
            let kept = match &before {
                Ok(before) => index.keep_tags(repository, before, proof, &names).await.map(drop),
                Err(error) => Err(error.clone()),
            };
            if let Err(error) = kept {
                index.failed(&error);
            }
        }
        Ok(entries)
    }

    /// Manifests about another one that the driver has no links of.
    pub(super) async fn indexed_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Vec<Digest> {
        let Some(index) = self.index() else {
            return Vec::new();
        };
        let found = index.referrers(repository, subject).await;
        found.unwrap_or_else(|error| {
            index.failed(&error);
            Vec::new()
        })
    }

    /// What will prove a list of a folder that is about to be made.
    pub(super) async fn proof(&self, index: &Index, folder: &StoragePath) -> Result<Proof> {
        if index.only_writer() {
            return Ok(Proof::OnlyWriter);
        }
        let stamp = self.driver().stamps(slice::from_ref(folder)).await?.pop();
        Ok(stamp.flatten().map_or(Proof::None, Proof::Stamp))
    }

    /// Whether what is kept of a folder is what is there.
    pub(super) async fn proves(&self, proof: &Proof, folder: &StoragePath) -> Result<bool> {
        match proof {
            Proof::None => Ok(false),
            Proof::OnlyWriter => Ok(true),
            Proof::Stamp(stamp) => {
                let now = self.driver().stamps(slice::from_ref(folder)).await?.pop();
                Ok(now.flatten().as_ref() == Some(stamp))
            }
        }
    }

    /// The driver has deleted tags or manifests of a repository, of which nobody sets any meanwhile.
    pub(super) async fn removed(
        &self,
        change: Change<'_>,
        name: &RepositoryName,
        tags: &[Tag],
    ) -> Result<()> {
        // On some drivers a folder is gone with the last that was in it.
        if !change.matters() || self.look_again(name).await? {
            change.deleted(tags).await;
        }
        Ok(())
    }
}

/// Tags, one more than `most`, and what could prove them.
async fn known_tags(
    index: &Index,
    repository: &RepositoryName,
    last: Option<&str>,
    most: usize,
) -> std::result::Result<Option<(Proof, Vec<String>)>, KvError> {
    match index.is_suspect(Some(repository)).await? {
        true => Ok(None),
        false => index.tags(repository, last, most.saturating_add(1)).await,
    }
}
