//! What [`stat`](crate::StorageDriver::stat), lists and walks say of a path.

use std::time::SystemTime;

use crate::StoragePath;

/// Content or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: StoragePath,
    /// What.
    pub kind: Kind,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Committed content.
    File {
        /// Its bytes.
        size: u64,
        /// When it was written, by the clock of the store, if it says so.
        modified: Option<SystemTime>,
    },
    /// A folder: other paths are, or were, below it.
    Folder,
}

impl Entry {
    /// A folder.
    #[must_use]
    pub fn folder(path: StoragePath) -> Entry {
        let kind = Kind::Folder;
        Entry { path, kind }
    }

    /// Whether this is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// The bytes of the content; 0 for a folder.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size, .. } => size,
            Kind::Folder => 0,
        }
    }

    /// When the content was written, if that is known.
    #[must_use]
    pub fn modified(&self) -> Option<SystemTime> {
        match self.kind {
            Kind::File { modified, .. } => modified,
            Kind::Folder => None,
        }
    }
}
