//! The registry's content on a driver: what can be asked of it and done to it, without HTTP.
//!
//! `blobs`, `uploads`, `manifests`, `tags`, `referrers`, `catalog` are its parts; `indexed` and `folders` answer lists from the
//! index, `build` fills it and compares it; `purge` deletes uploads that did not end, `gc` what nothing leads to, `cached` keeps what
//! comes from other registries, `cache` keeps manifests in memory, `locks` keeps what must not happen at the same time apart.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use transom_oci::Digest;
use transom_storage::{Condition, Put, StorageDriver, StoragePath};

use crate::error::{Result, absent};
use crate::index::Index;
use crate::{Error, limits};

mod blobs;
mod build;
mod cache;
mod cached;
mod catalog;
mod folders;
mod gc;
mod indexed;
mod locks;
mod manifests;
mod purge;
mod referrers;
mod tags;
mod uploads;

pub use blobs::Blob;
pub use build::{Built, Compared};
pub use cached::{Arrived, Evicted};
pub use gc::{Collected, Collection};
pub use manifests::{ManifestPush, Pushed, Stored};
pub use referrers::Referrers;
pub use uploads::OpenUpload;
pub(crate) use uploads::{Day, UploadId};

use build::Building;
use cache::Cache;
use locks::Locks;
use purge::Marked;
use uploads::Running;

/// What is up to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Take indexes whose manifests are not all here.
    pub sparse_indexes: bool,
    /// Mount a blob that any repository has if a client names none. Whoever knows a digest then gets the content.
    pub mount_from_anywhere: bool,
    /// Bytes of one manifest.
    pub manifest_bytes: u64,
    /// How long what nothing leads to is kept. All instances on one store must have the same.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sparse_indexes: false,
            mount_from_anywhere: true,
            manifest_bytes: limits::MANIFEST_BYTES,
            grace: limits::GRACE,
        }
    }
}

/// The content of a registry. A clone is another handle of the same.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    driver: Arc<dyn StorageDriver>,
    options: Options,
    running: Running,
    cache: Cache,
    locks: Locks,
    marked: Marked,
    index: OnceLock<Index>,
    building: Building,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it, in order.
    pub items: Vec<T>,
    /// Whether something comes after it.
    pub more: bool,
}

impl Store {
    /// A registry's content on a driver. Nothing is read or written yet.
    #[must_use]
    pub fn new(driver: Arc<dyn StorageDriver>, options: Options) -> Store {
        let inner = Inner {
            driver,
            options,
            running: Running::default(),
            cache: Cache::new(limits::CACHED_MANIFESTS),
            locks: Locks::default(),
            marked: Marked::default(),
            index: OnceLock::new(),
            building: Building::default(),
        };
        let inner = Arc::new(inner);
        Store { inner }
    }

    /// What it is kept on.
    #[must_use]
    pub fn driver(&self) -> &dyn StorageDriver {
        &*self.inner.driver
    }

    /// What was chosen.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Whether the driver answers.
    ///
    /// # Errors
    /// The driver's.
    pub async fn check(&self) -> Result<()> {
        match self.driver().stat(&StoragePath::root()).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop).map_err(Error::Storage),
        }
    }

    /// Writes a link. One that is there is written anew: its time says that it is wanted.
    async fn link(&self, path: &StoragePath, digest: &Digest) -> Result<()> {
        let Put { path, content } = link(path.clone(), digest);
        let put = self.driver().put(&path, content, Condition::Always).await;
        put.map_err(Error::Storage)
    }

    /// Sets several contents, group by group.
    async fn put_all(&self, groups: Vec<Vec<Put>>) -> Result<()> {
        self.driver().put_all(groups).await.map_err(Error::Storage)
    }

    /// Writes a link that is there anew, if it is half as old as what is garbage.
    async fn renew(&self, path: &StoragePath, digest: &Digest) -> Result<()> {
        match self.driver().stat(path).await {
            Ok(entry) if self.is_ageing(entry.modified()) => self.link(path, digest).await,
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(Error::Storage(error)),
        }
    }

    /// What a link points at.
    async fn linked(&self, path: &StoragePath, missing: impl FnOnce() -> Error) -> Result<Digest> {
        let content = self.driver().get(path, limits::LINK_BYTES).await;
        let content = content.map_err(absent(missing))?;
        let text = std::str::from_utf8(&content).unwrap_or_default();
        text.trim_ascii().parse().map_err(|error| Error::Damaged {
            path: path.to_string(),
            reason: format!("it should hold a digest: {error}"),
        })
    }

    /// Whether there is content at a path.
    async fn exists(&self, path: &StoragePath) -> Result<bool> {
        match self.driver().stat(path).await {
            Ok(entry) => Ok(!entry.is_folder()),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(Error::Storage(error)),
        }
    }

    /// Whether a blob is there already, as long as it must be, and young enough to be relied on.
    async fn is_whole(&self, path: &StoragePath, size: u64) -> Result<bool> {
        match self.driver().stat(path).await {
            Ok(entry) => {
                let same = !entry.is_folder() && entry.size() == size;
                Ok(same && !self.is_ageing(entry.modified()))
            }
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(Error::Storage(error)),
        }
    }

    /// Deletes what is at a path; says whether there was something.
    async fn remove(&self, path: &StoragePath) -> Result<bool> {
        match self.driver().delete(path).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(Error::Storage(error)),
        }
    }

    /// What is in a folder; nothing if there is none.
    async fn listed(&self, folder: &StoragePath) -> Result<Vec<transom_storage::Entry>> {
        match self.driver().list(folder).await {
            Ok(entries) => Ok(entries),
            Err(error) => absent(|| Error::NoSuchPath)(error).into_empty(),
        }
    }
}

/// A link that is to be written.
fn link(path: StoragePath, digest: &Digest) -> Put {
    let content = Bytes::copy_from_slice(digest.as_str().as_bytes());
    Put { path, content }
}

impl Error {
    /// Nothing, if the error says that nothing is there.
    fn into_empty<T>(self) -> Result<Vec<T>> {
        match self {
            Error::NoSuchPath => Ok(Vec::new()),
            error => Err(error),
        }
    }
}
