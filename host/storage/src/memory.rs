//! The driver that keeps everything in memory, up to a limit. Nothing survives the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use crate::driver::{Capabilities, Condition, Pending, Redirect, StorageDriver, WriteMode, Writer};
use crate::walk::{Folders, Listing, TreeWalk, Walk};
use crate::{Entry, Error, Kind, Reader, StoragePath, limits};

mod tree;

use tree::{Content, Tree, Upload};

pub(crate) const NAME: &str = "inmemory";

/// Content in memory. A clone is another handle of the same content.
#[derive(Clone, Debug)]
pub struct Memory {
    tree: Arc<Mutex<Tree>>,
}

impl Memory {
    /// An empty store of at most `limit` bytes of content and uploads. Each path counts with its length.
    #[must_use]
    pub fn new(limit: u64) -> Memory {
        let tree = Arc::new(Mutex::new(Tree::new(limit)));
        Memory { tree }
    }

    /// How many bytes are in use, of content, uploads and paths.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new(limits::MEMORY_BYTES)
    }
}

impl StorageDriver for Memory {
    fn name(&self) -> &str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            put_if_absent: true,
            quick_rename: true,
            ..Capabilities::default()
        }
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let content = self.lock().content(path)?;
            if content.size > limit {
                let (driver, path) = (NAME.into(), path.clone());
                return Err(Error::TooLarge { driver, path, limit });
            }
            Ok(content.whole())
        })
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        Box::pin(async move {
            // A copy: `content` may be a small part of something large.
            let content = Content::new(VecDeque::from([Bytes::copy_from_slice(&content)]));
            self.lock().set(path, content, condition)
        })
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        Box::pin(async move {
            let content = self.lock().content(path)?;
            let entry = content.entry(path.clone());
            if offset > content.size {
                return Err(Error::InvalidOffset {
                    driver: NAME.into(),
                    path: path.clone(),
                    offset,
                    size: content.size,
                });
            }
            let chunks = tokio_stream::iter(content.rest_from(offset).into_iter().map(Ok));
            Ok(Reader::from_chunks(entry, offset, Box::pin(chunks)))
        })
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        Box::pin(async move {
            let upload = self.lock().open_upload(path, mode)?;
            Ok(Box::new(MemoryWriter {
                memory: self.clone(),
                path: path.clone(),
                upload: Some(upload),
            }) as Box<dyn Writer>)
        })
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        Box::pin(async move { self.lock().stat(path) })
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        Box::pin(async move { self.lock().list(folder) })
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(async move { self.lock().rename(from, to) })
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(async move { self.lock().delete(path) })
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, _: &'a Redirect) -> Pending<'a, Option<String>> {
        Box::pin(async move { path.not_root().map(|_| None) })
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        Box::pin(async move {
            let walk = TreeWalk::new(self.clone(), from, after);
            Ok(Box::new(walk) as Box<dyn Walk>)
        })
    }
}

impl Folders for Memory {
    fn read<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Listing> {
        Box::pin(async move {
            let entries = self.lock().list(folder)?;
            Ok(Listing { entries, deep: false })
        })
    }
}

/// An upload. While it is open it is here, and the tree knows only that it is and how large.
#[derive(Debug)]
struct MemoryWriter {
    memory: Memory,
    path: StoragePath,
    /// Gone after commit, close and cancel.
    upload: Option<Upload>,
}

impl Writer for MemoryWriter {
    fn size(&self) -> u64 {
        self.upload.as_ref().map_or(0, Upload::size)
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            if let Some(upload) = &mut self.upload {
                self.memory.lock().write(&self.path, upload, &bytes)?;
            }
            Ok(())
        })
    }

    fn commit(self: Box<Self>) -> Pending<'static, ()> {
        let path = self.path.clone();
        self.commit_to(&path)
    }

    fn commit_to(mut self: Box<Self>, to: &StoragePath) -> Pending<'static, ()> {
        let to = to.clone();
        Box::pin(async move {
            match self.upload.take() {
                Some(upload) => self.memory.lock().commit(&self.path, &to, upload),
                None => Ok(()),
            }
        })
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            drop(self);
            Ok(())
        })
    }

    fn cancel(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            if let Some(upload) = self.upload.take() {
                self.memory.lock().cancel(&self.path, &upload);
            }
            Ok(())
        })
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            self.memory.lock().keep(&self.path, upload);
        }
    }
}
