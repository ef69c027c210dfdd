//! Walking a tree in the one order that holds everywhere.

use std::collections::VecDeque;
use std::fmt;

use crate::{Entry, Error, Pending, StoragePath};

/// A walk under way: everything below a folder, part by part, `/` lowest.
pub trait Walk: Send + fmt::Debug {
    /// The next entry; `None` at the end, and after an error.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::NotFolder`] for the folder where it began; those of the store.
    fn next(&mut self) -> Pending<'_, Option<Entry>>;

    /// Leaves out what is below the folder that [`next`](Walk::next) gave last; nothing happens after anything else.
    fn skip(&mut self);
}

/// What a [`TreeWalk`] asks for: what is in one folder.
pub trait Folders: Send + Sync + fmt::Debug {
    /// What is in a folder, ordered by path.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotFolder`], those of the store.
    fn read<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Listing>;
}

/// What is in a folder.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Ordered by path. Where paths are keys, content and a folder of one path may both be there, the content first.
    pub entries: Vec<Entry>,
    /// Whether `entries` is all that is below the folder, and not only what is directly in it.
    pub deep: bool,
}

/// A [`Walk`] that reads one folder after the other. It holds the rest of each folder on the way in memory.
#[derive(Debug)]
pub struct TreeWalk<F> {
    folders: F,
    after: Option<StoragePath>,
    /// The folders on the way, the deepest last; what is left of each.
    way: Vec<Level>,
    /// The folder that comes next, to be read when somebody wants to go on.
    enter: Option<StoragePath>,
    begun: bool,
    /// What was given last.
    last: Option<Entry>,
}

#[derive(Debug)]
struct Level {
    rest: VecDeque<Entry>,
    deep: bool,
}

impl<F: Folders> TreeWalk<F> {
    /// A walk of what is below `from` and after `after`.
    pub fn new(folders: F, from: &StoragePath, after: Option<&StoragePath>) -> TreeWalk<F> {
        TreeWalk {
            folders,
            after: after.cloned(),
            way: Vec::new(),
            enter: Some(from.clone()),
            begun: false,
            last: None,
        }
    }

    async fn advance(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if let Some(folder) = self.enter.take() {
                self.read(&folder).await?;
            }
            let Some(level) = self.way.last_mut() else {
                return Ok(None);
            };
            let Some(entry) = level.rest.pop_front() else {
                self.way.pop();
                continue;
            };
            if entry.is_folder() && !level.deep && self.leads_further(&entry.path) {
                self.enter = Some(entry.path.clone());
            }
            let wanted = self.after.as_ref().is_none_or(|after| entry.path > *after);
            // Content and a folder of one path are one entry.
            if wanted && self.last.as_ref().is_none_or(|last| last.path != entry.path) {
                self.last = Some(entry.clone());
                return Ok(Some(entry));
            }
        }
    }

    async fn read(&mut self, folder: &StoragePath) -> Result<(), Error> {
        let listing = match self.folders.read(folder).await {
            Ok(listing) => listing,
            // Somebody removed it, or put content in its place, since its parent was read.
            Err(Error::NotFound { .. } | Error::NotFolder { .. }) if self.begun => return Ok(()),
            Err(error) => return Err(error),
        };
        self.begun = true;
        self.way.push(Level {
            rest: listing.entries.into(),
            deep: listing.deep,
        });
        Ok(())
    }

    /// Whether anything below `folder` can come after where the walk begins.
    fn leads_further(&self, folder: &StoragePath) -> bool {
        self.after
            .as_ref()
            .is_none_or(|after| folder >= after || after.is_below(folder))
    }
}

impl<F: Folders> Walk for TreeWalk<F> {
    fn next(&mut self) -> Pending<'_, Option<Entry>> {
        Box::pin(async move {
            let next = self.advance().await;
            if next.is_err() {
                self.way.clear();
                self.enter = None;
            }
            next
        })
    }

    fn skip(&mut self) {
        let Some(last) = self.last.as_ref().filter(|last| last.is_folder()) else {
            return;
        };
        self.enter = None;
        if let Some(level) = self.way.last_mut().filter(|level| level.deep) {
            while level
                .rest
                .front()
                .is_some_and(|entry| entry.path.is_below(&last.path))
            {
                level.rest.pop_front();
            }
        }
    }
}
