//! The traits of a storage driver, and the words of its conversation with the host.
//!
//! Read `words` (what is said), this file (the traits), `host` (what a driver may use), `transform` (a driver that stands on
//! another and changes its bytes).
//!
//! A driver that stands on another and keeps everything turned by 13 (in `docs/guides/storage-drivers.md`, too):
//!
//! ```
//! use std::io::Read;
//! use std::rc::Rc;
//! use transom_sdk::Error;
//! use transom_sdk::storage::{
//!     Codec, Content, Driver, DriverInfo, Encoder, File, Host, StorageError, Store, Transform,
//! };
//!
//! #[derive(Debug)]
//! pub struct Turn(Transform<Turned>);
//!
//! impl Driver for Turn {
//!     fn describe() -> DriverInfo {
//!         DriverInfo::new("turn", "0.1.0")
//!     }
//!
//!     fn open(host: &Host) -> Result<Self, Error> {
//!         Ok(Turn(Transform::new(host.inner(), Turned)))
//!     }
//! }
//!
//! pub struct Turned;
//!
//! impl Codec for Turned {
//!     const OWN: &'static str = ".example-turn";
//!
//!     fn encoder(&self, _path: &str) -> Result<Box<dyn Encoder>, StorageError> {
//!         Ok(Box::new(Turned))
//!     }
//!
//!     fn size(&self, _: &Rc<dyn Store>, _: &str, file: File) -> Result<u64, StorageError> {
//!         Ok(file.size)
//!     }
//!
//!     fn read(&self, inner: &Rc<dyn Store>, path: &str, _: &str, offset: u64) -> Result<Content, StorageError> {
//!         let Content { file, body } = inner.read(path, offset)?;
//!         Ok(Content { file, body: Box::new(Back(body)) })
//!     }
//! }
//!
//! impl Encoder for Turned {
//!     fn write(&mut self, content: &[u8], kept: &mut Vec<u8>) -> Result<(), StorageError> {
//!         kept.extend(content.iter().map(|byte| byte.wrapping_add(13)));
//!         Ok(())
//!     }
//!
//!     fn finish(self: Box<Self>, _: &mut Vec<u8>) -> Result<(), StorageError> {
//!         Ok(())
//!     }
//! }
//!
//! struct Back(Box<dyn Read>);
//!
//! impl Read for Back {
//!     fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
//!         let length = self.0.read(buffer)?;
//!         buffer[..length].iter_mut().for_each(|byte| *byte = byte.wrapping_sub(13));
//!         Ok(length)
//!     }
//! }
//!
//! transom_sdk::delegate_store!(Turn);
//! transom_sdk::register_driver!(Turn);
//!
//! // And in its tests:
//! use transom_sdk::storage::Condition;
//! use transom_sdk::testing::{MemoryStore, TestHost};
//!
//! let below = MemoryStore::new();
//! let driver: Turn = TestHost::new().inner(below.clone()).open().unwrap();
//! driver.put("/a", b"hello", Condition::Always).unwrap();
//! assert_eq!(below.kept("/a").unwrap(), b"uryy|");
//! assert_eq!(driver.get("/a", 10).unwrap(), b"hello");
//! ```

mod error;
mod host;
mod transform;
mod words;

use std::io::{Read, Write};

pub use self::error::StorageError;
pub use self::host::{Host, Http, Key, Keys, Request, Response, Secret, Sending, now, random};
pub use self::transform::{Codec, Encoder, Plain, Transform};
pub(crate) use self::words::is_below;
pub use self::words::{Capabilities, Condition, DriverInfo, Entry, File, Kind, RedirectMethod, WriteMode};
use crate::Error;

/// A storage driver: a [`Store`] that can say what it is and be opened.
///
/// The host keeps several instances, each with a driver of its own that works for the same store, and drops one that crashed:
/// what one must know of another is in the store.
pub trait Driver: Store + Sized + 'static {
    /// Says what the driver is. Always the same answer.
    fn describe() -> DriverInfo;

    /// Looks at its configuration. Neither the inner driver nor HTTP can be used yet, but for the inner driver's capabilities.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a value that it cannot work with, or any other.
    fn open(host: &Host) -> Result<Self, Error>;
}

/// A tree of content by path: what a driver is to the host, and the driver below it to a driver that stands on another.
///
/// The rules are in `wit/storage/storage.wit`, and the host holds a driver to them with the conformance suite
/// (`transom driver check`). In short: content is seen whole or not at all; folders come with what is below them; lists and
/// walks are in the order of paths, part by part. The host never asks for content at the root, and gives sound paths only.
pub trait Store {
    /// What it can do beyond the rest. Always the same answer.
    fn capabilities(&self) -> Capabilities;

    /// The whole content, for what is small.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotFound`], [`StorageError::TooLarge`] above `limit` bytes, [`StorageError::IsFolder`].
    fn get(&self, path: &str, limit: u64) -> Result<Vec<u8>, StorageError> {
        let content = self.read(path, 0)?;
        if content.file.size > limit {
            return Err(StorageError::TooLarge(limit));
        }
        let mut bytes = Vec::with_capacity(content.file.size as usize);
        content.body.take(limit + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(StorageError::TooLarge(limit)),
            false => Ok(bytes),
        }
    }

    /// Sets the whole content, in one step.
    ///
    /// # Errors
    ///
    /// [`StorageError::AlreadyExists`] with [`Condition::Absent`] if there is content, [`StorageError::Unsupported`] with a
    /// condition that it cannot hold, [`StorageError::IsFolder`], [`StorageError::NotFolder`], [`StorageError::NoSpace`].
    fn put(&self, path: &str, content: &[u8], condition: Condition) -> Result<(), StorageError>;

    /// The content from `offset` bytes on.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotFound`], [`StorageError::InvalidOffset`] beyond the end, [`StorageError::IsFolder`].
    fn read(&self, path: &str, offset: u64) -> Result<Content, StorageError>;

    /// Opens content for writing. Nobody sees what is written before it is committed.
    ///
    /// # Errors
    ///
    /// [`StorageError::Busy`], [`StorageError::NotFound`] with [`WriteMode::Append`] where there is nothing to go on with,
    /// [`StorageError::IsFolder`], [`StorageError::NotFolder`].
    fn writer(&self, path: &str, mode: WriteMode) -> Result<Box<dyn Upload>, StorageError>;

    /// What is at a path.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotFound`].
    fn stat(&self, path: &str) -> Result<Entry, StorageError>;

    /// What is directly in a folder, in order.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotFound`], but never for the root; [`StorageError::NotFolder`].
    fn children(&self, folder: &str) -> Result<Box<dyn Entries>, StorageError>;

    /// Moves content. What is at `to` is replaced. Folders are not moved.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotFound`], [`StorageError::IsFolder`], [`StorageError::NotFolder`].
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError>;

    /// Deletes content, or a folder with all that is below it, and what was written there and not committed.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotFound`] if there was nothing.
    fn delete(&self, path: &str) -> Result<(), StorageError>;

    /// A URL where a client gets the content by itself; `None`, as here, if the host must serve it.
    ///
    /// # Errors
    ///
    /// Those of the store, if it is asked.
    fn redirect(
        &self,
        _path: &str,
        _method: RedirectMethod,
        _seconds: u32,
    ) -> Result<Option<String>, StorageError> {
        Ok(None)
    }

    /// Everything below a folder, in order; with `after`, only what comes after that path.
    ///
    /// # Errors
    ///
    /// As [`children`](Store::children); at the latest from the first [`Entries::next`].
    fn walk(&self, folder: &str, after: Option<&str>) -> Result<Box<dyn Entries>, StorageError>;
}

/// Content from an offset on.
pub struct Content {
    /// Its whole size, and when it was written.
    pub file: File,
    /// Its bytes from the offset on: exactly those up to the size, or an error.
    pub body: Box<dyn Read>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Content that is being written, as [`Write`]. Dropping it keeps what was written for [`WriteMode::Append`], but does not promise
/// it. A write need not be flushed.
pub trait Upload: Write {
    /// How many bytes there are, with those that were there when it was opened to append.
    fn size(&self) -> u64;

    /// Makes everything that was written the content of the path.
    ///
    /// # Errors
    ///
    /// Any; the content is then as it was before.
    fn commit(self: Box<Self>) -> Result<(), StorageError>;

    /// Makes everything that was written the content of another path.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Upload::commit).
    fn commit_to(self: Box<Self>, to: &str) -> Result<(), StorageError>;

    /// Keeps what was written for [`WriteMode::Append`], as durably as content.
    ///
    /// # Errors
    ///
    /// Those of the store.
    fn close(self: Box<Self>) -> Result<(), StorageError>;

    /// Throws away what was written. Content that was there before stays.
    ///
    /// # Errors
    ///
    /// Those of the store.
    fn cancel(self: Box<Self>) -> Result<(), StorageError>;
}

/// Entries in order: of a folder, or of everything below it.
pub trait Entries {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of the store.
    fn next(&mut self) -> Result<Option<Entry>, StorageError>;

    /// Of a walk: leaves out what is below a folder that [`next`](Entries::next) gave, from here on.
    fn skip(&mut self, folder: &str);
}

/// Entries of a list, for drivers that know all of them.
#[derive(Debug)]
pub struct Listed {
    entries: std::vec::IntoIter<Entry>,
    skipped: Option<String>,
}

impl Listed {
    /// Puts entries into order.
    #[must_use]
    pub fn new(mut entries: Vec<Entry>) -> Listed {
        entries.sort_by(|one, other| words::order(&one.path, &other.path));
        Listed {
            entries: entries.into_iter(),
            skipped: None,
        }
    }
}

impl Entries for Listed {
    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        let skipped = self.skipped.as_deref();
        Ok(self
            .entries
            .find(|entry| skipped.is_none_or(|folder| !words::is_below(&entry.path, folder))))
    }

    fn skip(&mut self, folder: &str) {
        self.skipped = Some(folder.to_owned());
    }
}

/// A walk over a store that can only list folders: one folder after the other.
pub struct Walked<L> {
    list: L,
    after: Option<String>,
    /// The folders on the way, the deepest last.
    way: Vec<Box<dyn Entries>>,
    enter: Option<String>,
    begun: bool,
}

impl<L> std::fmt::Debug for Walked<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walked")
            .field("enter", &self.enter)
            .finish_non_exhaustive()
    }
}

impl<L: FnMut(&str) -> Result<Box<dyn Entries>, StorageError>> Walked<L> {
    /// A walk of what is below `folder` and comes after `after`, by a function that lists a folder.
    pub fn new(list: L, folder: &str, after: Option<&str>) -> Walked<L> {
        Walked {
            list,
            after: after.map(str::to_owned),
            way: Vec::new(),
            enter: Some(folder.to_owned()),
            begun: false,
        }
    }

    /// Whether anything below a folder can come after where the walk begins.
    fn leads_further(&self, folder: &str) -> bool {
        let after = self.after.as_deref();
        after.is_none_or(|after| words::order(folder, after).is_ge() || words::is_below(after, folder))
    }
}

impl<L: FnMut(&str) -> Result<Box<dyn Entries>, StorageError>> Entries for Walked<L> {
    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        loop {
            if let Some(folder) = self.enter.take() {
                match (self.list)(&folder) {
                    Ok(entries) => self.way.push(entries),
                    // Somebody removed it since its parent was read.
                    Err(StorageError::NotFound | StorageError::NotFolder) if self.begun => {}
                    Err(error) => return Err(error),
                }
                self.begun = true;
            }
            let Some(level) = self.way.last_mut() else {
                return Ok(None);
            };
            let Some(entry) = level.next()? else {
                self.way.pop();
                continue;
            };
            if entry.is_folder() && self.leads_further(&entry.path) {
                self.enter = Some(entry.path.clone());
            }
            let after = self.after.as_deref();
            if after.is_none_or(|after| words::order(&entry.path, after).is_gt()) {
                return Ok(Some(entry));
            }
        }
    }

    fn skip(&mut self, folder: &str) {
        // The way is within the folder, or the folder is the one that comes next.
        if self.enter.as_deref() == Some(folder) {
            self.enter = None;
        }
    }
}

/// Implements [`Store`] for a tuple struct of which the first field is the store that does it all, such as a
/// [`Transform`].
#[macro_export]
macro_rules! delegate_store {
    ($driver:ty) => {
        impl $crate::storage::Store for $driver {
            fn capabilities(&self) -> $crate::storage::Capabilities {
                self.0.capabilities()
            }
            fn get(&self, path: &str, limit: u64) -> Result<Vec<u8>, $crate::storage::StorageError> {
                self.0.get(path, limit)
            }
            fn put(
                &self,
                path: &str,
                content: &[u8],
                condition: $crate::storage::Condition,
            ) -> Result<(), $crate::storage::StorageError> {
                self.0.put(path, content, condition)
            }
            fn read(
                &self,
                path: &str,
                offset: u64,
            ) -> Result<$crate::storage::Content, $crate::storage::StorageError> {
                self.0.read(path, offset)
            }
            fn writer(
                &self,
                path: &str,
                mode: $crate::storage::WriteMode,
            ) -> Result<Box<dyn $crate::storage::Upload>, $crate::storage::StorageError> {
                self.0.writer(path, mode)
            }
            fn stat(&self, path: &str) -> Result<$crate::storage::Entry, $crate::storage::StorageError> {
                self.0.stat(path)
            }
            fn children(
                &self,
                folder: &str,
            ) -> Result<Box<dyn $crate::storage::Entries>, $crate::storage::StorageError> {
                self.0.children(folder)
            }
            fn rename(&self, from: &str, to: &str) -> Result<(), $crate::storage::StorageError> {
                self.0.rename(from, to)
            }
            fn delete(&self, path: &str) -> Result<(), $crate::storage::StorageError> {
                self.0.delete(path)
            }
            fn redirect(
                &self,
                path: &str,
                method: $crate::storage::RedirectMethod,
                seconds: u32,
            ) -> Result<Option<String>, $crate::storage::StorageError> {
                self.0.redirect(path, method, seconds)
            }
            fn walk(
                &self,
                folder: &str,
                after: Option<&str>,
            ) -> Result<Box<dyn $crate::storage::Entries>, $crate::storage::StorageError> {
                self.0.walk(folder, after)
            }
        }
    };
}
