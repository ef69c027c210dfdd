//! Where snapshots are: in namespaces, or all in one place for a containerd that keeps the records itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::{Request, Status};
use transom_meta::filter::{Filters, Plugins};
use transom_meta::snapshots::{Info, Snapshots, Snapshotter, Usage};
use transom_meta::{Caller, Error, Labels, Metadata};
use transom_sys::Mount;

use crate::limits::LIST_PAGE;
use crate::{convert, status};

/// Where snapshots are.
#[derive(Clone, Debug)]
pub enum Backend {
    /// In namespaces.
    Whole {
        /// The records.
        metadata: Metadata,
        /// The filter plugins that a list may name.
        plugins: Plugins,
    },
    /// All in one place, under the names that containerd makes.
    Flat(Arc<Flat>),
}

/// The snapshotters of a containerd, by name.
#[derive(Debug)]
pub struct Flat {
    all: BTreeMap<String, Arc<dyn Snapshotter>>,
    default: String,
}

impl Flat {
    /// These snapshotters; `default` is the name of the one for requests that name another.
    #[must_use]
    pub fn new(snapshotters: Vec<Arc<dyn Snapshotter>>, default: &str) -> Flat {
        let named = |snapshotter: Arc<dyn Snapshotter>| (snapshotter.name().to_owned(), snapshotter);
        Flat {
            all: snapshotters.into_iter().map(named).collect(),
            default: default.to_owned(),
        }
    }

    /// A containerd asks by the name of its proxy plugin, which the operator chose.
    fn find(&self, name: &str) -> Result<Arc<dyn Snapshotter>, Error> {
        let invalid = |what: String| Error::Invalid { what };
        if name.is_empty() {
            return Err(invalid("snapshotter argument missing".to_owned()));
        }
        let found = self.all.get(name).or_else(|| self.all.get(&self.default));
        found
            .cloned()
            .ok_or_else(|| invalid(format!("snapshotter not loaded: {name}")))
    }
}

impl Backend {
    /// Snapshots in namespaces.
    #[must_use]
    pub fn whole(metadata: Metadata, plugins: Plugins) -> Backend {
        Backend::Whole { metadata, plugins }
    }

    /// Snapshots in one place.
    #[must_use]
    pub fn flat(flat: Flat) -> Backend {
        Backend::Flat(Arc::new(flat))
    }

    /// The snapshotter that a request is for, and on whose behalf.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if it is not loaded; as [`caller`](convert::caller), where there are namespaces.
    pub fn asked<T>(&self, request: &Request<T>, snapshotter: &str) -> Result<Asked, Status> {
        match self {
            Backend::Whole { metadata, plugins } => Ok(Asked::Whole {
                snapshots: metadata.snapshots(snapshotter).map_err(|e| status::of(&e))?,
                caller: convert::caller(request)?,
                plugins: plugins.clone(),
            }),
            Backend::Flat(flat) => flat
                .find(snapshotter)
                .map(Asked::Flat)
                .map_err(|e| status::of(&e)),
        }
    }
}

/// A snapshotter with the one on whose behalf it is asked.
#[derive(Debug)]
pub enum Asked {
    /// A namespace's snapshots.
    Whole {
        /// The snapshots.
        snapshots: Snapshots,
        /// Whose.
        caller: Caller,
        /// The filter plugins that a list may name.
        plugins: Plugins,
    },
    /// Everything.
    Flat(Arc<dyn Snapshotter>),
}

impl Asked {
    /// Makes an active snapshot.
    ///
    /// # Errors
    /// As [`Snapshots::prepare`] or [`Snapshotter::prepare`].
    pub async fn prepare(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>, Error> {
        match self {
            Asked::Whole {
                snapshots, caller, ..
            } => snapshots.prepare(caller, key, parent, labels).await,
            Asked::Flat(flat) => Ok(flat.prepare(key, parent, labels).await?),
        }
    }

    /// Makes a view.
    ///
    /// # Errors
    /// As [`prepare`](Asked::prepare).
    pub async fn view(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>, Error> {
        match self {
            Asked::Whole {
                snapshots, caller, ..
            } => snapshots.view(caller, key, parent, labels).await,
            Asked::Flat(flat) => Ok(flat.view(key, parent, labels).await?),
        }
    }

    /// The mounts of a view or an active snapshot.
    ///
    /// # Errors
    /// As [`Snapshots::mounts`] or [`Snapshotter::mounts`].
    pub async fn mounts(&self, key: &str) -> Result<Vec<Mount>, Error> {
        match self {
            Asked::Whole {
                snapshots, caller, ..
            } => snapshots.mounts(caller, key).await,
            Asked::Flat(flat) => Ok(flat.mounts(key).await?),
        }
    }

    /// Commits an active snapshot.
    ///
    /// # Errors
    /// As [`Snapshots::commit`] or [`Snapshotter::commit`].
    pub async fn commit(&self, name: &str, key: &str, parent: &str, labels: Labels) -> Result<(), Error> {
        match self {
            Asked::Whole {
                snapshots, caller, ..
            } => snapshots.commit(caller, name, key, parent, labels).await,
            Asked::Flat(flat) => Ok(flat.commit(name, key, parent, labels).await?),
        }
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// As [`Snapshots::remove`] or [`Snapshotter::remove`].
    pub async fn remove(&self, key: &str) -> Result<(), Error> {
        match self {
            Asked::Whole {
                snapshots, caller, ..
            } => snapshots.remove(caller, key).await,
            Asked::Flat(flat) => Ok(flat.remove(key).await?),
        }
    }

    /// What is known of a snapshot.
    ///
    /// # Errors
    /// As [`Snapshots::stat`] or [`Snapshotter::stat`].
    pub async fn stat(&self, key: &str) -> Result<Info, Error> {
        match self {
            Asked::Whole {
                snapshots, caller, ..
            } => snapshots.stat(caller, key).await,
            Asked::Flat(flat) => Ok(flat.stat(key).await?),
        }
    }

    /// Changes labels: those that `paths` name, or all.
    ///
    /// # Errors
    /// As [`Snapshots::update`] or [`Snapshotter::update`]; [`Error::Immutable`].
    pub async fn update(&self, key: &str, labels: Labels, paths: &[String]) -> Result<Info, Error> {
        match self {
            Asked::Whole {
                snapshots, caller, ..
            } => snapshots.update(caller, key, labels, paths).await,
            Asked::Flat(flat) => {
                let all = paths.is_empty() || paths.iter().any(|path| path == "labels");
                let some = named(key, &labels, paths)?;
                let named = if all { labels } else { some };
                Ok(flat.update(key, named, all).await?)
            }
        }
    }

    /// What a snapshot takes on disk.
    ///
    /// # Errors
    /// As [`Snapshots::usage`] or [`Snapshotter::usage`].
    pub async fn usage(&self, key: &str) -> Result<Usage, Error> {
        match self {
            Asked::Whole {
                snapshots, caller, ..
            } => snapshots.usage(caller, key).await,
            Asked::Flat(flat) => Ok(flat.usage(key).await?),
        }
    }

    /// Removes the files of what was removed.
    ///
    /// # Errors
    /// As [`Snapshots::cleanup`] or [`Snapshotter::cleanup`].
    pub async fn cleanup(&self) -> Result<(), Error> {
        match self {
            Asked::Whole { snapshots, .. } => snapshots.cleanup().await,
            Asked::Flat(flat) => Ok(flat.cleanup().await?),
        }
    }

    /// The filter plugins that a list may name.
    #[must_use]
    pub fn plugins(&self) -> Plugins {
        match self {
            Asked::Whole { plugins, .. } => plugins.clone(),
            Asked::Flat(_) => Plugins::default(),
        }
    }

    /// A page of the snapshots that match, after `after`, and after what the next one begins, if there is one.
    ///
    /// # Errors
    /// As [`Snapshots::list_page`] or [`Snapshotter::list`].
    pub async fn page(
        &self,
        filters: &Arc<Filters>,
        after: Option<&str>,
    ) -> Result<(Vec<Info>, Option<String>), Error> {
        match self {
            Asked::Whole {
                snapshots, caller, ..
            } => snapshots.list_page(caller, filters, after).await,
            Asked::Flat(flat) => {
                let mut page = flat.list(after, LIST_PAGE).await?;
                let next = page.last().map(|last| last.name.clone());
                let next = next.filter(|_| page.len() == LIST_PAGE);
                filters.retain(&mut page)?;
                Ok((page, next))
            }
        }
    }
}

/// The labels that the paths name; one that has no value is empty.
fn named(key: &str, labels: &Labels, paths: &[String]) -> Result<Labels, Error> {
    let mut named = Labels::new();
    for path in paths.iter().filter(|path| *path != "labels") {
        let label = path.strip_prefix("labels.").ok_or_else(|| Error::Immutable {
            field: path.clone(),
            object: format!("snapshot {key:?}"),
        })?;
        named.insert(label.to_owned(), labels.get(label).cloned().unwrap_or_default());
    }
    Ok(named)
}
