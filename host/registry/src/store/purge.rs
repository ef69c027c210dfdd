//! Uploads that did not end, deleted when they are old.
//!
//! Drivers do not list what is not committed. Uploads are therefore in a folder for each day, which can be deleted without knowing
//! what is in it. Where a folder is not seen before there is content in it, the first upload of a day leaves a mark there.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use transom_content::timestamp;
use transom_storage::Condition;

use super::Store;
use super::uploads::Day;
use crate::error::Result;
use crate::names::RepositoryName;
use crate::{Error, layout, limits};

/// The days that were marked, of a few repositories: a mark that is written twice does no harm.
#[derive(Debug, Default)]
pub(super) struct Marked(Mutex<HashSet<(RepositoryName, Day)>>);

impl Marked {
    /// Notes one; says whether it is new.
    fn add(&self, repository: &RepositoryName, day: Day) -> bool {
        let mut marked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marked.len() >= limits::MARKED_DAYS {
            marked.clear();
        }
        marked.insert((repository.clone(), day))
    }
}

impl Store {
    /// Deletes the uploads of all repositories that were begun more than `age` ago, by the day; gives how many folders were
    /// deleted.
    ///
    /// # Errors
    /// The driver's.
    pub async fn purge_uploads(&self, age: Duration) -> Result<u64> {
        let Some(limit) = SystemTime::now().checked_sub(age) else {
            return Ok(0);
        };
        let mut deleted = 0;
        let mut repositories = self.repositories_with(&[layout::UPLOADS], None).await?;
        while let Some(name) = repositories.next().await? {
            deleted += self.purge_uploads_of(&name, limit).await?;
        }
        Ok(deleted)
    }

    async fn purge_uploads_of(&self, name: &RepositoryName, limit: SystemTime) -> Result<u64> {
        let last = Day::of(limit);
        let mut deleted = 0;
        for entry in self.listed(&layout::uploads(name)?).await? {
            let old = match Day::read(entry.path.name()) {
                Some(day) => day < last,
                None => self.begun_before(&entry.path, limit).await?,
            };
            if old && self.remove(&entry.path).await? {
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Whether an upload of docker-registry's is old. One that does not say when it was begun is left alone.
    async fn begun_before(&self, folder: &transom_storage::StoragePath, limit: SystemTime) -> Result<bool> {
        let Ok(text) = self
            .driver()
            .get(&folder.join("startedat")?, limits::LINK_BYTES)
            .await
        else {
            return Ok(false);
        };
        let text = String::from_utf8_lossy(&text);
        let begun = timestamp::parse(text.trim());
        Ok(begun.is_some_and(|begun| begun < limit))
    }

    /// Makes the folder of a day's uploads seen, if it would not be.
    pub(super) async fn mark_day(&self, repository: &RepositoryName, day: Day) -> Result<()> {
        if self.driver().capabilities().local_files || !self.inner.marked.add(repository, day) {
            return Ok(());
        }
        let mark = layout::upload_day(repository, day)?.join("begun")?;
        let put = self.driver().put(&mark, Bytes::new(), Condition::Always).await;
        put.map_err(Error::Storage)
    }

    /// Does so from time to time.
    pub(crate) async fn purge_uploads_for_ever(self, age: Duration, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            match self.purge_uploads(age).await {
                Ok(0) => {}
                Ok(deleted) => tracing::info!(deleted, "old uploads are deleted"),
                Err(error) => tracing::warn!(%error, "old uploads cannot be deleted"),
            }
        }
    }
}
