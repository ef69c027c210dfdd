//! What leads where in one repository.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use transom_oci::{Algorithm, Digest};
use transom_storage::StoragePath;

use super::{Alive, Collected, Collection, is_old};
use crate::error::Result;
use crate::index::Change;
use crate::manifest::Manifest;
use crate::names::{Reference, RepositoryName};
use crate::store::Store;
use crate::{Error, layout, limits};

/// A link as it is found.
#[derive(Debug)]
pub(in crate::store) struct Link {
    pub(in crate::store) digest: Digest,
    /// The digest that the bytes are kept under.
    pub(super) target: Digest,
    /// When it was last wanted.
    pub(in crate::store) modified: Option<SystemTime>,
}

/// The manifests of a repository.
#[derive(Debug, Default)]
struct Manifests {
    /// When each was last wanted, and what it says; nothing if it cannot be read.
    all: HashMap<Digest, (Option<SystemTime>, Option<Manifest>)>,
    /// Those that a tag points at.
    tagged: HashSet<Digest>,
}

impl Manifests {
    /// Those that no tag leads to, and that are not young. An index leads to what it lists, a subject to its referrers.
    fn unwanted(&self, limit: Option<SystemTime>) -> Vec<Digest> {
        let young = self
            .all
            .iter()
            .filter(|(_, (modified, _))| !is_old(*modified, limit));
        let mut wanted: HashSet<&Digest> = self
            .tagged
            .iter()
            .chain(young.map(|(digest, _)| digest))
            .collect();
        loop {
            let before = wanted.len();
            for (digest, (_, manifest)) in &self.all {
                let Some(manifest) = manifest else {
                    continue;
                };
                let subject = manifest.subject.as_ref();
                if subject.is_some_and(|subject| wanted.contains(&subject.digest)) {
                    wanted.insert(digest);
                }
                if wanted.contains(digest) {
                    wanted.extend(manifest.manifests.iter().map(|child| &child.digest));
                }
            }
            if wanted.len() == before {
                break;
            }
        }
        self.all
            .keys()
            .filter(|digest| !wanted.contains(digest))
            .cloned()
            .collect()
    }

    fn unreadable(&self) -> bool {
        self.all.values().any(|(_, manifest)| manifest.is_none())
    }

    fn needed(&self) -> HashSet<&Digest> {
        let manifests = self.all.values().filter_map(|(_, manifest)| manifest.as_ref());
        manifests.flat_map(Manifest::everything).collect()
    }
}

impl Store {
    /// Deletes the links of a repository that nothing needs, and notes what has links.
    pub(super) async fn collect_links(
        &self,
        name: &RepositoryName,
        collection: &Collection,
        limit: Option<SystemTime>,
        alive: &mut Alive,
        collected: &mut Collected,
    ) -> Result<()> {
        collected.repositories += 1;
        // Nothing is pushed meanwhile, so that what is seen is all there is. Uploads and pulls go on.
        let _alone = match collection.dry_run {
            true => None,
            false => Some(self.inner.locks.alone(name).await),
        };
        let mut manifests = self.manifests_of(name).await?;
        if let Some(after) = collection.untagged_after {
            let limit = SystemTime::now().checked_sub(after.max(self.options().grace));
            let unwanted = manifests.unwanted(limit);
            if !collection.dry_run {
                self.delete_revisions(name, &unwanted).await?;
            }
            for digest in &unwanted {
                manifests.all.remove(digest);
                collected.deleted_manifests += 1;
            }
        }
        collected.manifests += manifests.all.len() as u64;
        manifests.all.keys().for_each(|digest| alive.insert(digest));
        let unreadable = manifests.unreadable();
        if unreadable {
            collected.unreadable.push(name.as_str().to_owned());
        }
        let needed = manifests.needed();
        for link in self.links(&layout::layers(name)?).await? {
            let wanted = unreadable || needed.contains(&link.digest) || !is_old(link.modified, limit);
            let stays =
                wanted || (!collection.dry_run && !self.forget_link(name, &link.digest, limit).await?);
            if stays {
                alive.insert(&link.target);
            } else {
                collected.deleted_links += 1;
            }
        }
        Ok(())
    }

    /// Makes manifests unknown that no tag points at.
    async fn delete_revisions(&self, name: &RepositoryName, digests: &[Digest]) -> Result<()> {
        if digests.is_empty() {
            return Ok(());
        }
        let change = Change::begin(self.index(), name).await;
        for digest in digests {
            self.delete_revision(name, digest).await?;
        }
        self.removed(change, name, &[]).await
    }

    /// Deletes a link, if another instance has not renewed it meanwhile.
    pub(in crate::store) async fn forget_link(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        limit: Option<SystemTime>,
    ) -> Result<bool> {
        match self.driver().stat(&layout::layer_link(name, digest)?).await {
            Ok(entry) if !is_old(entry.modified(), limit) => Ok(false),
            Ok(_) => self.remove(&layout::layer(name, digest)?).await,
            Err(error) if error.is_not_found() => Ok(true),
            Err(error) => Err(Error::Storage(error)),
        }
    }

    async fn manifests_of(&self, name: &RepositoryName) -> Result<Manifests> {
        let mut manifests = Manifests::default();
        for entry in self.listed(&layout::tags(name)?).await? {
            let link = entry.path.join("current/link")?;
            match self.linked(&link, || Error::NoSuchPath).await {
                Ok(digest) => drop(manifests.tagged.insert(digest)),
                Err(Error::NoSuchPath) => {}
                Err(error) => return Err(error),
            }
        }
        for link in self.links(&layout::revisions(name)?).await? {
            let reference = Reference::Digest(link.digest.clone());
            let manifest = match self.manifest(name, &reference).await {
                Ok(stored) => Manifest::read(&stored.bytes).ok(),
                Err(Error::ManifestUnknown { .. } | Error::Damaged { .. }) => None,
                Err(error) => return Err(error),
            };
            manifests.all.insert(link.digest, (link.modified, manifest));
        }
        Ok(manifests)
    }

    /// The links below a folder of algorithms and digests.
    pub(in crate::store) async fn links(&self, folder: &StoragePath) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        for algorithm in self.listed(folder).await? {
            let folders = self.listed(&algorithm.path).await?;
            let looked_at = folders
                .into_iter()
                .map(|entry| self.look_at_link(entry.path).boxed());
            let looked_at = stream::iter(looked_at).buffered(limits::LOOK_UPS);
            let found: Vec<Option<Link>> = looked_at.try_collect().await?;
            links.extend(found.into_iter().flatten());
        }
        Ok(links)
    }

    async fn look_at_link(&self, folder: StoragePath) -> Result<Option<Link>> {
        let Some(digest) = layout::digest_of(&folder) else {
            return Ok(None);
        };
        let path = folder.join("link")?;
        let modified = match self.driver().stat(&path).await {
            Ok(entry) => entry.modified(),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(Error::Storage(error)),
        };
        // docker-registry's links of other algorithms lead to the sha256.
        let target = match digest.algorithm() {
            Algorithm::Sha256 => digest.clone(),
            _ => match self.linked(&path, || Error::NoSuchPath).await {
                Ok(target) => target,
                Err(Error::NoSuchPath | Error::Damaged { .. }) => digest.clone(),
                Err(error) => return Err(error),
            },
        };
        Ok(Some(Link {
            digest,
            target,
            modified,
        }))
    }
}
