//! Building the index, so that the first lists are quick, too, and referrers are found of which the driver has no links;
//! and comparing it with the driver.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::sync::{Mutex, Notify};
use transom_oci::Digest;

use super::Store;
use super::folders::below;
use crate::error::Result;
use crate::index::{Folder, Index};
use crate::manifest::Manifest;
use crate::names::{Reference, RepositoryName};
use crate::{Error, layout, limits};

/// What was found while the index was built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Built {
    /// Repositories.
    pub repositories: u64,
    /// Their tags.
    pub tags: u64,
    /// Manifests that were read to find out what they are about. Each is read once.
    pub manifests: u64,
    /// Those of them that are about another one, and that the driver has no link of.
    pub referrers: u64,
    /// Lists that nothing proves at the moment: they changed just now, or the driver cannot tell. They walk the driver.
    pub unproved: u64,
}

/// What the index knows, compared with the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Repositories on the driver.
    pub repositories: u64,
    /// Their tags.
    pub tags: u64,
    /// Lists that are answered from the index.
    pub proved: u64,
    /// Lists that walk the driver, as nothing proves what is known of them.
    pub unproved: u64,
    /// Lists that the index answers wrongly: `tags of NAME`, `folder NAME`. There should never be any.
    pub wrong: Vec<String>,
}

/// What keeps builds apart, and what they wait for.
#[derive(Debug, Default)]
pub(super) struct Building {
    one: Mutex<()>,
    anew: AtomicBool,
    wanted: Notify,
}

impl Store {
    /// Fills the index with what it does not know yet. What it knows is looked at only to see whether it still holds.
    /// Without an index nothing is done.
    ///
    /// # Errors
    /// The driver's.
    pub async fn build_index(&self) -> Result<Built> {
        let mut built = Built::default();
        let Some(index) = self.index() else {
            return Ok(built);
        };
        // What is known of manifests is read first and written last: one build at a time.
        let _alone = self.inner.building.one.lock().await;
        if self.inner.building.anew.swap(false, Ordering::AcqRel)
            && let Err(error) = index.forget().await
        {
            index.failed(&error);
        }
        let mut level = vec![String::new()];
        while !level.is_empty() {
            let looked_at = level.into_iter().map(|name| {
                let looked_at = async move {
                    let (folder, proved) = self.known_folder(index, &name).await?;
                    Ok::<_, Error>((name, folder, proved))
                };
                looked_at.boxed()
            });
            let mut looked_at = stream::iter(looked_at).buffer_unordered(limits::LOOK_UPS);
            let (mut next, mut repositories) = (Vec::new(), Vec::new());
            while let Some((name, folder, proved)) = looked_at.try_next().await? {
                next.extend(folder.folders().map(|part| below(&name, part)));
                built.unproved += u64::from(!proved);
                if folder.repository {
                    repositories.extend(RepositoryName::new(&name));
                }
            }
            let parts = repositories.into_iter().map(|name| {
                let part = async move { self.build_repository(index, &name).await };
                part.boxed()
            });
            let mut parts = stream::iter(parts).buffer_unordered(limits::INDEX_REPOSITORIES);
            while let Some(part) = parts.try_next().await? {
                built.add(&part);
            }
            level = next;
        }
        Ok(built)
    }

    /// A folder as it is, and whether the index knows it now.
    async fn known_folder(&self, index: &Index, name: &str) -> Result<(Folder, bool)> {
        match index.folder(name).await {
            Ok(Some((proof, folder))) if self.proves(&proof, &layout::folder(name)?).await? => {
                Ok((folder, true))
            }
            Ok(_) => self.list_folder(index, name).await,
            Err(error) => {
                index.failed(&error);
                self.list_folder(index, name).await
            }
        }
    }

    async fn build_repository(&self, index: &Index, name: &RepositoryName) -> Result<Built> {
        let folder = layout::tags(name)?;
        let known = self.indexed_tags(name, &folder, None, usize::MAX).await?;
        let (tags, proved) = match known {
            Some(page) => (page.items.len(), true),
            None => {
                let entries = self.list_tags(name, &folder).await?;
                let tags = entries.iter().filter(|entry| entry.is_folder()).count();
                // A repository without tags has no list that could be long.
                let proved = tags == 0 || self.indexed_tags(name, &folder, None, 1).await?.is_some();
                (tags, proved)
            }
        };
        let (manifests, referrers) = self.look_at_manifests(index, name).await?;
        Ok(Built {
            repositories: 1,
            tags: tags as u64,
            manifests,
            referrers,
            unproved: u64::from(!proved),
        })
    }

    /// Reads those manifests of a repository that were not read before, and keeps what they are about; gives how many it read, and
    /// how many are about another one.
    async fn look_at_manifests(&self, index: &Index, name: &RepositoryName) -> Result<(u64, u64)> {
        let mut there = self.revisions(name).await?;
        there.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        let known = index.looked_at(name).await.unwrap_or_else(|error| {
            index.failed(&error);
            Vec::new()
        });
        let known: HashSet<&str> = known.iter().map(String::as_str).collect();
        let new: Vec<Digest> = there
            .iter()
            .filter(|digest| !known.contains(digest.as_str()))
            .cloned()
            .collect();
        let read = new
            .into_iter()
            .map(|digest| self.subject_of(name, digest).boxed());
        let mut read = stream::iter(read).buffered(limits::LOOK_UPS);
        let (mut manifests, mut unread, mut found) = (0, HashSet::new(), Vec::new());
        while let Some((digest, subject)) = read.try_next().await? {
            manifests += 1;
            match subject {
                Some(Some(subject)) => {
                    let linked = layout::referrer(name, &subject, &digest)?.join("link")?;
                    if !self.exists(&linked).await? {
                        found.push((subject, digest));
                    }
                }
                Some(None) => {}
                // It may be readable the next time.
                None => drop(unread.insert(digest)),
            }
        }
        let kept = there.iter().filter(|digest| !unread.contains(digest));
        let kept: Vec<&str> = kept.map(Digest::as_str).collect();
        let kept = index.keep_subjects(name, &kept, &found).await;
        kept.unwrap_or_else(|error| index.failed(&error));
        Ok((manifests, found.len() as u64))
    }

    /// The manifests of a repository.
    async fn revisions(&self, name: &RepositoryName) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in self.listed(&layout::revisions(name)?).await? {
            let folders = self.listed(&algorithm.path).await?;
            digests.extend(folders.iter().filter_map(|entry| layout::digest_of(&entry.path)));
        }
        Ok(digests)
    }

    /// What a manifest is about; nothing if it cannot be read.
    async fn subject_of(
        &self,
        name: &RepositoryName,
        digest: Digest,
    ) -> Result<(Digest, Option<Option<Digest>>)> {
        match self.manifest(name, &Reference::Digest(digest.clone())).await {
            Ok(stored) => {
                let subject = Manifest::read(&stored.bytes)
                    .ok()
                    .and_then(|manifest| manifest.subject);
                Ok((digest, Some(subject.map(|subject| subject.digest))))
            }
            Err(Error::ManifestUnknown { .. } | Error::Damaged { .. }) => Ok((digest, None)),
            Err(error) => Err(error),
        }
    }

    /// Has the index forget everything and be built anew: by the next [build](Store::build_index), which a registry that runs
    /// begins at once. What nothing but this process proves is not believed from now on.
    pub fn rebuild_index(&self) {
        if let Some(index) = self.index() {
            index.begin_era();
            self.inner.building.anew.store(true, Ordering::Release);
            self.inner.building.wanted.notify_one();
        }
    }

    /// Builds the index, and again whenever it is to be built anew.
    pub(crate) async fn keep_index(self) {
        loop {
            match self.build_index().await {
                Ok(built) => tracing::info!(?built, "the index is built"),
                Err(error) => tracing::warn!(%error, "the index cannot be built: lists walk the storage"),
            }
            self.inner.building.wanted.notified().await;
        }
    }

    /// Compares what the index would answer with what the driver says, and changes neither.
    ///
    /// # Errors
    /// The driver's.
    pub async fn compare_index(&self) -> Result<Compared> {
        let mut compared = Compared::default();
        let Some(index) = self.index() else {
            return Ok(compared);
        };
        let suspect = index.is_suspect(None).await.unwrap_or(true);
        let mut way = vec![String::new()];
        while let Some(name) = way.pop() {
            let path = layout::folder(&name)?;
            let known = index.folder(&name).await.ok().flatten();
            let folder = self.read_folder(&name, &path).await?;
            // What proves it is looked at last: the folder may change meanwhile.
            let (proved, right) = match &known {
                Some((proof, known)) => {
                    let right = self.same(index, &name, known, &folder).await;
                    (!suspect && self.proves(proof, &path).await?, right)
                }
                None => (false, false),
            };
            compared.note(proved, right, || format!("folder {name:?}"));
            way.extend(folder.folders().map(|part| below(&name, part)));
            if folder.repository
                && let Ok(name) = RepositoryName::new(&name)
            {
                self.compare_tags(&name, &mut compared).await?;
            }
        }
        Ok(compared)
    }

    /// Whether the same repositories are found through what is known of a folder as through what is there. A folder that went with
    /// its last content may still be known, as one that leads to nothing.
    async fn same(&self, index: &Index, name: &str, known: &Folder, there: &Folder) -> bool {
        let (mut gone, mut new): (HashSet<&str>, _) = (known.folders().collect(), 0);
        for part in there.folders() {
            new += usize::from(!gone.remove(part));
        }
        let mut way: Vec<String> = gone.into_iter().map(|part| below(name, part)).collect();
        while let Some(name) = way.pop() {
            let Some((_, folder)) = index.folder(&name).await.ok().flatten() else {
                continue;
            };
            if folder.repository {
                return false;
            }
            way.extend(folder.folders().map(|part| below(&name, part)));
        }
        new == 0 && known.repository == there.repository
    }

    async fn compare_tags(&self, name: &RepositoryName, compared: &mut Compared) -> Result<()> {
        compared.repositories += 1;
        let folder = layout::tags(name)?;
        let known = self.indexed_tags(name, &folder, None, usize::MAX).await?;
        let entries = self.listed(&folder).await?;
        let tags = entries.iter().filter(|entry| entry.is_folder());
        let tags: Vec<&str> = tags.map(|entry| entry.path.name()).collect();
        compared.tags += tags.len() as u64;
        if known.is_none() && tags.is_empty() {
            // No list that could be long.
            return Ok(());
        }
        let right = known.as_ref().is_some_and(|page| page.items == tags);
        let proved = known.is_some() && (right || self.indexed_tags(name, &folder, None, 1).await?.is_some());
        compared.note(proved, right, || format!("tags of {name}"));
        Ok(())
    }
}

impl Built {
    fn add(&mut self, part: &Built) {
        self.repositories += part.repositories;
        self.tags += part.tags;
        self.manifests += part.manifests;
        self.referrers += part.referrers;
        self.unproved += part.unproved;
    }
}

impl Compared {
    fn note(&mut self, proved: bool, right: bool, what: impl FnOnce() -> String) {
        match (proved, right) {
            (false, _) => self.unproved += 1,
            (true, true) => self.proved += 1,
            (true, false) => self.wrong.push(what()),
        }
    }

    /// Whether every answer from the index would be right.
    #[must_use]
    pub fn good(&self) -> bool {
        self.wrong.is_empty()
    }
}
