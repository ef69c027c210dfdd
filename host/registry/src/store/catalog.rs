//! The list of repositories: folders with `_manifests` in them, found by walking where no index knows them.

use std::collections::VecDeque;

use transom_storage::{Entry, StoragePath};

use super::{Page, Store};
use crate::error::Result;
use crate::index::List;
use crate::layout;
use crate::names::RepositoryName;

/// Walks through folders and finds repositories, a folder's before those below it. The order is that of the parts of their
/// names: `a/b` comes before `a-b`.
#[derive(Debug)]
pub(crate) struct Repositories {
    store: Store,
    /// What makes a folder one that is wanted.
    folders: &'static [&'static str],
    top: StoragePath,
    after: Option<StoragePath>,
    /// What is left of each folder on the way, the deepest last.
    way: Vec<VecDeque<Entry>>,
}

impl Store {
    /// Repositories after `last`, `most` of them at most, in the order of the parts of their names.
    ///
    /// # Errors
    /// The driver's.
    pub async fn catalog(&self, last: Option<&RepositoryName>, most: usize) -> Result<Page<String>> {
        if let Some(page) = self.indexed_catalog(last, most).await? {
            return Ok(page);
        }
        self.count(List::Catalog, false);
        let mut found = self.repositories_with(&[layout::MANIFESTS], last).await?;
        let mut items = Vec::new();
        while items.len() < most {
            match found.next().await? {
                Some(name) => items.push(name.as_str().to_owned()),
                None => return Ok(Page { items, more: false }),
            }
        }
        let more = found.next().await?.is_some();
        Ok(Page { items, more })
    }

    /// Every repository after one that has a folder of one of these names.
    pub(crate) async fn repositories_with(
        &self,
        folders: &'static [&'static str],
        after: Option<&RepositoryName>,
    ) -> Result<Repositories> {
        let top = layout::repositories()?;
        let first = self.listed(&top).await?;
        let mut repositories = Repositories {
            store: self.clone(),
            folders,
            after: after.map(layout::repository).transpose()?,
            top,
            way: Vec::new(),
        };
        repositories.enter(first);
        Ok(repositories)
    }
}

impl Repositories {
    /// The next repository.
    pub(crate) async fn next(&mut self) -> Result<Option<RepositoryName>> {
        while let Some(level) = self.way.last_mut() {
            let Some(folder) = level.pop_front() else {
                self.way.pop();
                continue;
            };
            let path = folder.path;
            let inside = self.store.listed(&path).await?;
            let repository = inside
                .iter()
                .any(|entry| self.folders.contains(&entry.path.name()));
            self.enter(inside);
            let wanted = self.after.as_ref().is_none_or(|after| path > *after);
            if repository && wanted {
                let name = &path.as_str()[self.top.as_str().len() + 1..];
                // A folder that somebody else put there may have a name that no repository has.
                if let Ok(name) = RepositoryName::new(name) {
                    return Ok(Some(name));
                }
            }
        }
        Ok(None)
    }

    /// Goes on with those folders that may be, or lead to, repositories that are wanted.
    fn enter(&mut self, entries: Vec<Entry>) {
        let after = self.after.as_ref();
        let wanted = |entry: &Entry| {
            let path = &entry.path;
            let leads = after.is_none_or(|after| path >= after || after.is_below(path));
            entry.is_folder() && !path.name().starts_with(layout::RESERVED) && leads
        };
        self.way.push(entries.into_iter().filter(wanted).collect());
    }
}
