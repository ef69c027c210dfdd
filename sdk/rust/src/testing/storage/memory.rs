//! A store in memory that can be looked into and changed behind a driver's back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Write};
use std::rc::Rc;

use crate::Instant;
use crate::storage::{
    Capabilities, Condition, Content, Entries, Entry, File, Listed, StorageError, Store, Upload, Walked,
    WriteMode, is_below,
};

/// A store in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    held: Rc<RefCell<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    contents: BTreeMap<String, (Rc<[u8]>, i64)>,
    uploads: BTreeMap<String, Slot>,
    changes: i64,
}

/// An upload that is open, or waits for a writer that appends.
#[derive(Debug)]
enum Slot {
    Open,
    Waiting(Vec<u8>),
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The paths of all content, in the order of their bytes.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.held.borrow().contents.keys().cloned().collect()
    }

    /// What is kept at a path.
    #[must_use]
    pub fn kept(&self, path: &str) -> Option<Vec<u8>> {
        let held = self.held.borrow();
        held.contents.get(path).map(|(bytes, _)| bytes.to_vec())
    }

    /// Changes what is kept at a path, without the driver above knowing.
    pub fn keep(&self, path: &str, bytes: &[u8]) {
        self.held.borrow_mut().set(path, bytes);
    }
}

impl Held {
    fn set(&mut self, path: &str, bytes: &[u8]) {
        self.changes += 1;
        self.contents
            .insert(path.to_owned(), (bytes.into(), self.changes));
    }

    fn file(&self, path: &str) -> Option<File> {
        let (bytes, change) = self.contents.get(path)?;
        Some(File {
            size: bytes.len() as u64,
            modified: Some(Instant {
                seconds: *change,
                nanoseconds: 0,
            }),
        })
    }

    fn is_folder(&self, path: &str) -> bool {
        path == "/" || self.contents.keys().any(|known| is_below(known, path))
    }

    /// Whether content may be at a path.
    fn place(&self, path: &str) -> Result<(), StorageError> {
        let above = |known: &String| is_below(path, known);
        if self.contents.keys().any(above) {
            return Err(StorageError::NotFolder);
        }
        match self.is_folder(path) {
            true => Err(StorageError::IsFolder),
            false => Ok(()),
        }
    }
}

impl Store for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            put_if_absent: true,
            quick_rename: true,
            ..Capabilities::default()
        }
    }

    fn put(&self, path: &str, content: &[u8], condition: Condition) -> Result<(), StorageError> {
        let mut held = self.held.borrow_mut();
        held.place(path)?;
        if condition == Condition::Absent && held.contents.contains_key(path) {
            return Err(StorageError::AlreadyExists);
        }
        held.set(path, content);
        Ok(())
    }

    fn read(&self, path: &str, offset: u64) -> Result<Content, StorageError> {
        let held = self.held.borrow();
        let Some((bytes, _)) = held.contents.get(path) else {
            return Err(match held.is_folder(path) {
                true => StorageError::IsFolder,
                false => StorageError::NotFound,
            });
        };
        let size = bytes.len() as u64;
        if offset > size {
            return Err(StorageError::InvalidOffset(size));
        }
        let mut body = Cursor::new(Rc::clone(bytes));
        body.set_position(offset);
        let file = held.file(path).ok_or(StorageError::NotFound)?;
        Ok(Content {
            file,
            body: Box::new(body),
        })
    }

    fn writer(&self, path: &str, mode: WriteMode) -> Result<Box<dyn Upload>, StorageError> {
        let mut held = self.held.borrow_mut();
        held.place(path)?;
        let waiting = match held.uploads.remove(path) {
            Some(Slot::Open) => {
                held.uploads.insert(path.to_owned(), Slot::Open);
                return Err(StorageError::Busy);
            }
            Some(Slot::Waiting(bytes)) => Some(bytes),
            None => None,
        };
        let bytes = match (mode, waiting) {
            (WriteMode::Create, _) => Vec::new(),
            (WriteMode::Append, Some(waiting)) => waiting,
            (WriteMode::Append, None) => {
                let content = held.contents.get(path).ok_or(StorageError::NotFound)?;
                content.0.to_vec()
            }
        };
        held.uploads.insert(path.to_owned(), Slot::Open);
        Ok(Box::new(MemoryUpload {
            store: self.clone(),
            path: path.to_owned(),
            bytes: Some(bytes),
        }))
    }

    fn stat(&self, path: &str) -> Result<Entry, StorageError> {
        let held = self.held.borrow();
        match held.file(path) {
            Some(file) => Ok(Entry::file(path, file)),
            None if held.is_folder(path) => Ok(Entry::folder(path)),
            None => Err(StorageError::NotFound),
        }
    }

    fn children(&self, folder: &str) -> Result<Box<dyn Entries>, StorageError> {
        let held = self.held.borrow();
        if held.contents.contains_key(folder) {
            return Err(StorageError::NotFolder);
        }
        if !held.is_folder(folder) {
            return Err(StorageError::NotFound);
        }
        let start = folder.trim_end_matches('/').len() + 1;
        let mut entries: Vec<Entry> = Vec::new();
        for path in held.contents.keys().filter(|path| is_below(path, folder)) {
            let child = match path[start..].find('/') {
                Some(end) => Entry::folder(&path[..start + end]),
                None => Entry::file(path, held.file(path).ok_or(StorageError::NotFound)?),
            };
            if !entries.contains(&child) {
                entries.push(child);
            }
        }
        Ok(Box::new(Listed::new(entries)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let mut held = self.held.borrow_mut();
        let Some((bytes, _)) = held.contents.get(from).cloned() else {
            return Err(match held.is_folder(from) {
                true => StorageError::IsFolder,
                false => StorageError::NotFound,
            });
        };
        if from != to {
            held.place(to)?;
            held.contents.remove(from);
            held.set(to, &bytes);
        }
        Ok(())
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        let mut held = self.held.borrow_mut();
        let before = held.contents.len() + held.uploads.len();
        let stays = |known: &String| known != path && !is_below(known, path);
        held.contents.retain(|known, _| stays(known));
        held.uploads.retain(|known, _| stays(known));
        match held.contents.len() + held.uploads.len() < before {
            true => Ok(()),
            false => Err(StorageError::NotFound),
        }
    }

    fn walk(&self, folder: &str, after: Option<&str>) -> Result<Box<dyn Entries>, StorageError> {
        let store = self.clone();
        let list = move |folder: &str| store.children(folder);
        Ok(Box::new(Walked::new(list, folder, after)))
    }
}

struct MemoryUpload {
    store: MemoryStore,
    path: String,
    /// Gone at the end.
    bytes: Option<Vec<u8>>,
}

impl MemoryUpload {
    fn end(&mut self) -> Result<Vec<u8>, StorageError> {
        self.store.held.borrow_mut().uploads.remove(&self.path);
        self.bytes.take().ok_or(StorageError::Interrupted)
    }
}

impl Write for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.get_or_insert_default().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for MemoryUpload {
    fn size(&self) -> u64 {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        let path = self.path.clone();
        self.commit_to(&path)
    }

    fn commit_to(mut self: Box<Self>, to: &str) -> Result<(), StorageError> {
        self.store.held.borrow().place(to)?;
        let bytes = self.end()?;
        self.store.held.borrow_mut().set(to, &bytes);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), StorageError> {
        drop(self);
        Ok(())
    }

    fn cancel(mut self: Box<Self>) -> Result<(), StorageError> {
        self.end().map(drop)
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            let mut held = self.store.held.borrow_mut();
            if held.uploads.contains_key(&self.path) {
                held.uploads.insert(self.path.clone(), Slot::Waiting(bytes));
            }
        }
    }
}
