//! A driver in whose place another one can be put, under those who use it.
//!
//! A call that has begun, and a reader, a writer or a walk that is open, end with the driver that they began with.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::driver::{
    Capabilities, Condition, Pending, Put, Redirect, Stamp, StorageDriver, WriteMode, Writer,
};
use crate::walk::Walk;
use crate::{Entry, Reader, StoragePath};

/// A driver that can be replaced.
#[derive(Debug)]
pub struct Replaceable {
    name: String,
    /// Those of the first one: who has asked for them goes by the answer.
    capabilities: Capabilities,
    current: RwLock<Arc<dyn StorageDriver>>,
}

impl Replaceable {
    /// Begins with this one.
    #[must_use]
    pub fn new(driver: Arc<dyn StorageDriver>) -> Replaceable {
        Replaceable {
            name: driver.name().to_owned(),
            capabilities: driver.capabilities(),
            current: RwLock::new(driver),
        }
    }

    /// The driver of now.
    #[must_use]
    pub fn now(&self) -> Arc<dyn StorageDriver> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What another driver lacks to take the place: those who use this one know what it can do, and have asked once.
    #[must_use]
    pub fn lacks(&self, other: Capabilities) -> Option<&'static str> {
        let had = self.capabilities;
        let lost = [
            (
                had.put_if_absent && !other.put_if_absent,
                "it cannot put what is absent only",
            ),
            (
                had.local_files && !other.local_files,
                "it gives no files of this machine",
            ),
            (had.redirects && !other.redirects, "it gives no URLs"),
            (had.quick_rename && !other.quick_rename, "it renames by copying"),
            (
                had.durable && !other.durable,
                "what it keeps does not survive a power cut",
            ),
            (had.together && !other.together, "it cannot put several at once"),
            (
                had.flat != other.flat,
                "its paths are not what they were: folders, or keys",
            ),
        ];
        lost.into_iter().find(|(lost, _)| *lost).map(|(_, what)| what)
    }

    /// From now on this one, which [lacks](Replaceable::lacks) nothing.
    pub fn replace(&self, driver: Arc<dyn StorageDriver>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = driver;
    }
}

impl StorageDriver for Replaceable {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        let now = self.now();
        Box::pin(async move { now.get(path, limit).await })
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        let now = self.now();
        Box::pin(async move { now.put(path, content, condition).await })
    }

    fn put_all(&self, groups: Vec<Vec<Put>>) -> Pending<'_, ()> {
        let now = self.now();
        Box::pin(async move { now.put_all(groups).await })
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        let now = self.now();
        Box::pin(async move { now.read(path, offset).await })
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        let now = self.now();
        Box::pin(async move { now.writer(path, mode).await })
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        let now = self.now();
        Box::pin(async move { now.stat(path).await })
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        let now = self.now();
        Box::pin(async move { now.list(folder).await })
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        let now = self.now();
        Box::pin(async move { now.rename(from, to).await })
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        let now = self.now();
        Box::pin(async move { now.delete(path).await })
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, request: &'a Redirect) -> Pending<'a, Option<String>> {
        let now = self.now();
        Box::pin(async move { now.redirect(path, request).await })
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        let now = self.now();
        Box::pin(async move { now.walk(from, after).await })
    }

    fn stamps<'a>(&'a self, folders: &'a [StoragePath]) -> Pending<'a, Vec<Option<Stamp>>> {
        let now = self.now();
        Box::pin(async move { now.stamps(folders).await })
    }
}
