//! A driver in memory that gives every folder a stamp at once: the names in it. It can be told to fail after it has done what it
//! was asked for, and counts its lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use transom_storage::{
    Capabilities, Condition, Entry, Error, Memory, Pending, Reader, Redirect, Stamp, StorageDriver,
    StoragePath, Walk, WriteMode, Writer,
};

/// The driver. A clone is another handle of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Stamped {
    inner: Memory,
    /// Without stamps it is like a bucket.
    without: bool,
    pub(super) failing: Arc<AtomicBool>,
    lists: Arc<AtomicU64>,
}

impl Stamped {
    pub(super) fn new(stamps: bool) -> Stamped {
        Stamped {
            without: !stamps,
            ..Stamped::default()
        }
    }

    /// How often something was listed since the last time.
    pub(super) fn lists(&self) -> u64 {
        self.lists.swap(0, Ordering::SeqCst)
    }

    fn after(&self, done: Result<(), Error>, path: &StoragePath) -> Result<(), Error> {
        done?;
        match self.failing.load(Ordering::SeqCst) {
            true => Err(Error::io(
                "stamped".into(),
                "answer about",
                path,
                std::io::Error::other("the answer was lost"),
            )),
            false => Ok(()),
        }
    }
}

impl StorageDriver for Stamped {
    fn name(&self) -> &str {
        "stamped"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        self.inner.get(path, limit)
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        Box::pin(async move { self.after(self.inner.put(path, content, condition).await, path) })
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        self.inner.read(path, offset)
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        self.inner.writer(path, mode)
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        self.inner.stat(path)
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        self.inner.list(folder)
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        self.inner.rename(from, to)
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(async move { self.after(self.inner.delete(path).await, path) })
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, request: &'a Redirect) -> Pending<'a, Option<String>> {
        self.inner.redirect(path, request)
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        self.inner.walk(from, after)
    }

    fn stamps<'a>(&'a self, folders: &'a [StoragePath]) -> Pending<'a, Vec<Option<Stamp>>> {
        Box::pin(async move {
            let mut stamps = Vec::new();
            for folder in folders {
                stamps.push(match self.inner.list(folder).await {
                    Ok(entries) if !self.without => Some(stamp(&entries)),
                    _ => None,
                });
            }
            Ok(stamps)
        })
    }
}

/// Made of the names: short enough to be kept.
fn stamp(entries: &[Entry]) -> Stamp {
    let names: String = entries
        .iter()
        .map(|entry| format!("{} {}\n", entry.path, entry.is_folder()))
        .collect();
    let digest = transom_oci::Digest::of(transom_oci::Algorithm::Sha256, names.as_bytes());
    Stamp::new(digest.as_str().as_bytes().to_vec())
}
