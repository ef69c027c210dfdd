//! Bytes to which no link leads.

use std::time::SystemTime;

use transom_oci::{Algorithm, Digest};
use transom_storage::Entry;

use super::{Alive, Collected, Orphans, is_old};
use crate::error::Result;
use crate::store::Store;
use crate::{Error, layout};

impl Store {
    /// The old blobs that nothing leads to.
    pub(super) async fn orphans(
        &self,
        alive: &Alive,
        limit: Option<SystemTime>,
        collected: &mut Collected,
    ) -> Result<Orphans> {
        let mut orphans = Orphans::new();
        for algorithm in Algorithm::ALL {
            for part in self.listed(&layout::blobs(algorithm)?).await? {
                for entry in self.listed(&part.path).await? {
                    let Ok(digest) = format!("{algorithm}:{}", entry.path.name()).parse() else {
                        continue;
                    };
                    let data = match self.driver().stat(&layout::blob(&digest)?).await {
                        Ok(data) => data,
                        Err(error) if error.is_not_found() => continue,
                        Err(error) => return Err(Error::Storage(error)),
                    };
                    match !alive.contains(&digest) && is_old(data.modified(), limit) {
                        true => drop(orphans.insert(digest, data.size())),
                        false => collected.blobs += 1,
                    }
                }
            }
        }
        Ok(orphans)
    }

    /// Deletes those of the orphans that still are.
    pub(super) async fn sweep(
        &self,
        mut orphans: Orphans,
        limit: Option<SystemTime>,
        collected: &mut Collected,
    ) -> Result<()> {
        let found = orphans.len() as u64;
        let mut repositories = self.every_repository().await?;
        while let Some(name) = repositories.next().await? {
            for folder in [layout::layers(&name)?, layout::revisions(&name)?] {
                for link in self.links(&folder).await? {
                    orphans.remove(&link.target);
                }
            }
        }
        for (digest, size) in orphans {
            if self.delete_bytes(&digest, limit).await? {
                collected.deleted_blobs += 1;
                collected.deleted_bytes += size;
            }
        }
        collected.blobs += found - collected.deleted_blobs;
        Ok(())
    }

    /// Deletes the bytes of a blob. They are moved aside first and looked at there: if somebody has written them anew a moment
    /// before, they go back. The folder stays: somebody may be about to put them there.
    async fn delete_bytes(&self, digest: &Digest, limit: Option<SystemTime>) -> Result<bool> {
        let (data, aside) = (layout::blob(digest)?, layout::aside(digest)?);
        match self.driver().stat(&data).await {
            Ok(entry) if !is_old(entry.modified(), limit) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(Error::Storage(error)),
        }
        match self.driver().rename(&data, &aside).await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(Error::Storage(error)),
        }
        let moved = match self.driver().stat(&aside).await {
            Ok(moved) => moved,
            // Another collector has put it back.
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(Error::Storage(error)),
        };
        // A store that copies to rename gives the copy a new time: there it is the time before that counts.
        let kept = self.driver().capabilities().quick_rename && !is_old(moved.modified(), limit);
        if kept {
            self.put_back(digest).await?;
            return Ok(false);
        }
        self.remove(&aside).await
    }

    /// Puts bytes back that were moved aside, unless there are others by now.
    async fn put_back(&self, digest: &Digest) -> Result<()> {
        let (data, aside) = (layout::blob(digest)?, layout::aside(digest)?);
        match self.exists(&data).await? {
            true => drop(self.remove(&aside).await?),
            false => match self.driver().rename(&aside, &data).await {
                // Another collector was quicker.
                Err(error) if error.is_not_found() => {}
                other => other?,
            },
        }
        Ok(())
    }

    /// Puts everything back that a process left aside that died.
    pub(super) async fn bring_back(&self) -> Result<()> {
        for algorithm in self.listed(&layout::all_aside()?).await? {
            let entries: Vec<Entry> = self.listed(&algorithm.path).await?;
            for entry in entries {
                if let Some(digest) = layout::digest_of(&entry.path) {
                    self.put_back(&digest).await?;
                }
            }
        }
        Ok(())
    }
}
