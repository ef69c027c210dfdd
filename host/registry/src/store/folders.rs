//! The catalog from the index: the same walk as over the driver, over folders that are known, and of the driver only those that
//! are not, or that have changed.

use std::collections::HashMap;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use transom_storage::{Entry, Stamp, StoragePath};

use super::{Page, Store};
use crate::error::Result;
use crate::index::{Folder, Index, List, Proof};
use crate::names::RepositoryName;
use crate::{layout, limits};

/// A walk over what is known.
#[derive(Debug, Default)]
struct Plan {
    names: Vec<String>,
    /// Folders on the way that hold if they still have this stamp.
    seen: Vec<(String, Stamp)>,
    /// Folders on the way of which nothing is known.
    missing: Vec<String>,
}

/// A folder on the way, how far it is read, and the part of the name to begin after that is still below it.
#[derive(Debug)]
struct Level<'l> {
    folder: String,
    known: Folder,
    /// The byte of its names that is next.
    at: usize,
    after: Option<&'l str>,
}

impl Store {
    /// A page of the catalog, if there is an index.
    pub(super) async fn indexed_catalog(
        &self,
        last: Option<&RepositoryName>,
        most: usize,
    ) -> Result<Option<Page<String>>> {
        let Some(index) = self.index() else {
            return Ok(None);
        };
        match index.is_suspect(None).await {
            Ok(false) => {}
            Ok(true) => return Ok(None),
            Err(error) => {
                index.failed(&error);
                return Ok(None);
            }
        }
        // What this request has listed itself holds for it, whatever proves it. Each round adds to it, so there is an end.
        let mut fresh = HashMap::new();
        loop {
            let plan = plan(index, last, most.saturating_add(1), &fresh).await;
            let mut missing = plan.missing;
            if missing.is_empty() {
                missing = self.changed(plan.seen).await?;
            }
            if missing.is_empty() {
                self.count(List::Catalog, fresh.is_empty());
                let mut items = plan.names;
                let more = items.len() > most;
                items.truncate(most);
                return Ok(Some(Page { items, more }));
            }
            let listed = missing.into_iter().map(|name| {
                let listed = async move {
                    let (folder, _) = self.list_folder(index, &name).await?;
                    Ok::<_, crate::Error>((name, folder))
                };
                listed.boxed()
            });
            let listed = stream::iter(listed).buffer_unordered(limits::LOOK_UPS);
            let listed: Vec<(String, Folder)> = listed.try_collect().await?;
            fresh.extend(listed);
        }
    }

    /// Which of the folders have changed.
    async fn changed(&self, seen: Vec<(String, Stamp)>) -> Result<Vec<String>> {
        if seen.is_empty() {
            return Ok(Vec::new());
        }
        let paths = seen
            .iter()
            .map(|(name, _)| layout::folder(name))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let now = self.driver().stamps(&paths).await?;
        let both = seen.into_iter().zip(now);
        let changed = both.filter(|((_, stamp), now)| now.as_ref() != Some(stamp));
        Ok(changed.map(|((name, _), _)| name).collect())
    }

    /// A folder by the driver, and whether it is kept in the index: only if something proves it.
    pub(super) async fn list_folder(&self, index: &Index, name: &str) -> Result<(Folder, bool)> {
        let path = layout::folder(name)?;
        let before = index.before_folder(name).await;
        let proof = self.proof(index, &path).await?;
        let folder = self.read_folder(name, &path).await?;
        if proof == Proof::None {
            return Ok((folder, false));
        }
        let kept = match &before {
            Ok(before) => index.keep_folder(name, before, proof, &folder).await,
            Err(error) => Err(error.clone()),
        };
        let kept = kept.unwrap_or_else(|error| {
            index.failed(&error);
            false
        });
        Ok((folder, kept))
    }

    /// What is in a folder, by the driver.
    pub(super) async fn read_folder(&self, name: &str, path: &StoragePath) -> Result<Folder> {
        let entries = self.listed(path).await?;
        let repository = entries.iter().any(|entry| entry.path.name() == layout::MANIFESTS);
        // What a name of a repository cannot begin with leads to none.
        let leads = |entry: &&Entry| {
            entry.is_folder() && RepositoryName::new(&below(name, entry.path.name())).is_ok()
        };
        let names: Vec<&str> = entries
            .iter()
            .filter(leads)
            .map(|entry| entry.path.name())
            .collect();
        Ok(Folder::new(repository && !name.is_empty(), &names))
    }

    /// Lists a repository's folder until it is kept; says whether it is.
    pub(super) async fn look_again(&self, name: &RepositoryName) -> Result<bool> {
        let Some(index) = self.index() else {
            return Ok(false);
        };
        for _ in 0..limits::INDEX_TRIES {
            if self.list_folder(index, name.as_str()).await?.1 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Walks over what is known until there are `most` repositories, or too much is missing.
async fn plan(
    index: &Index,
    last: Option<&RepositoryName>,
    most: usize,
    fresh: &HashMap<String, Folder>,
) -> Plan {
    let mut plan = Plan::default();
    let top = plan.known(index, "", fresh).await;
    let mut way = vec![Level {
        folder: String::new(),
        known: top,
        at: 0,
        after: last.map(RepositoryName::as_str),
    }];
    while let Some(level) = way.last_mut() {
        if plan.names.len() >= most || plan.missing.len() >= limits::INDEX_FOLDERS {
            break;
        }
        let Some((part, next)) = level.known.next(level.at) else {
            way.pop();
            continue;
        };
        level.at = next;
        let (first, rest) = match level.after {
            Some(after) => after
                .split_once('/')
                .map_or((after, None), |(first, rest)| (first, Some(rest))),
            None => ("", None),
        };
        if level.after.is_some() && part < first {
            continue;
        }
        let on_the_way = level.after.is_some() && part == first;
        let name = below(&level.folder, part);
        let folder = plan.known(index, &name, fresh).await;
        if folder.repository && !on_the_way {
            plan.names.push(name.clone());
        }
        way.push(Level {
            folder: name,
            known: folder,
            at: 0,
            after: rest.filter(|_| on_the_way),
        });
    }
    plan
}

impl Plan {
    /// What is known of a folder, and on what condition.
    async fn known(&mut self, index: &Index, name: &str, fresh: &HashMap<String, Folder>) -> Folder {
        if let Some(folder) = fresh.get(name) {
            return folder.clone();
        }
        let found = index.folder(name).await.unwrap_or_else(|error| {
            index.failed(&error);
            None
        });
        match found {
            Some((Proof::Stamp(stamp), folder)) => {
                self.seen.push((name.to_owned(), stamp));
                folder
            }
            Some((Proof::OnlyWriter, folder)) => folder,
            Some((Proof::None, _)) | None => {
                self.missing.push(name.to_owned());
                Folder::default()
            }
        }
    }
}

/// The name of a folder in another one.
pub(super) fn below(folder: &str, part: &str) -> String {
    match folder.is_empty() {
        true => part.to_owned(),
        false => format!("{folder}/{part}"),
    }
}
