//! What this process changes itself, where nothing but that proves the index.
//!
//! A change that does not end as it should (an error, a client that went away) may still come about on the driver, also a while
//! later. Its repository is a suspect then: its lists walk the driver until nothing of the kind can happen any more, and
//! begin from nothing afterwards.

use tokio::time::Instant;
use transom_meta::kv::KvError;

use super::Index;
use crate::limits;
use crate::names::{RepositoryName, Tag};

/// A change that is under way. Dropped before it is [done](Change::done), it makes its repository a suspect.
#[derive(Debug)]
pub(crate) struct Change<'i> {
    index: Option<&'i Index>,
    name: &'i RepositoryName,
    /// It was known before that the repository is one.
    known: bool,
}

impl<'i> Change<'i> {
    /// To be called before the driver is changed. Without an index that goes by it, it is nothing.
    pub(crate) async fn begin(index: Option<&'i Index>, name: &'i RepositoryName) -> Change<'i> {
        let index = index.filter(|index| index.only_writer());
        let known = match index {
            // What cannot be read is not known.
            Some(index) => index.is_repository(name).await.unwrap_or(false),
            None => true,
        };
        Change { index, name, known }
    }

    /// Whether anybody goes by it.
    pub(crate) fn matters(&self) -> bool {
        self.index.is_some()
    }

    /// The driver has done it: tags were set.
    pub(crate) async fn pushed(self, tags: &[Tag]) {
        let Some(index) = self.index else {
            return;
        };
        let changed = async {
            if !self.known && !index.add_repository(self.name).await? {
                return Ok(false);
            }
            self.all(index, tags, true).await
        };
        let kept = changed.await;
        self.done(kept);
    }

    /// The driver has done it: tags were deleted.
    pub(crate) async fn deleted(self, tags: &[Tag]) {
        let Some(index) = self.index else {
            return;
        };
        let kept = self.all(index, tags, false).await;
        self.done(kept);
    }

    async fn all(&self, index: &Index, tags: &[Tag], present: bool) -> Result<bool, KvError> {
        for tag in tags {
            if !index.tag_changed(self.name, tag, present).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn done(mut self, kept: Result<bool, KvError>) {
        match kept {
            Ok(true) => self.index = None,
            Ok(false) => tracing::debug!(repository = %self.name, "the index changed too often meanwhile"),
            Err(error) => {
                if let Some(index) = self.index {
                    index.failed(&error);
                }
            }
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if let Some(index) = self.index {
            index.suspect(self.name);
        }
    }
}

impl Index {
    fn suspect(&self, name: &RepositoryName) {
        let mut suspects = self.suspects();
        if suspects.len() >= limits::INDEX_SUSPECTS {
            self.give_up("too many changes did not end as they should");
            return;
        }
        suspects.insert(name.clone(), Instant::now() + limits::INDEX_SUSPICION);
    }

    /// Whether a repository is a suspect; without a name, whether any is. Suspicion that is over is done away with here.
    pub(crate) async fn is_suspect(&self, name: Option<&RepositoryName>) -> Result<bool, KvError> {
        let over: Vec<RepositoryName> = {
            let suspects = self.suspects();
            if suspects.is_empty() {
                return Ok(false);
            }
            let now = Instant::now();
            let over = suspects.iter().filter(|(_, until)| **until <= now);
            over.map(|(name, _)| name.clone()).collect()
        };
        for name in over {
            // First what is in the index, so that it never is believed meanwhile.
            self.forget_tags(&name).await?;
            self.forget_repository(&name).await?;
            let mut suspects = self.suspects();
            if suspects.get(&name).is_some_and(|until| *until <= Instant::now()) {
                suspects.remove(&name);
            }
        }
        let suspects = self.suspects();
        Ok(match name {
            Some(name) => suspects.contains_key(name),
            None => !suspects.is_empty(),
        })
    }
}
