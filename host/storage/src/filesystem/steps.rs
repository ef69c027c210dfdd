//! The named points of what changes files.
//!
//! A driver may be opened with an [`Observer`] that is called at each point: the crash tests kill the process there. A
//! driver without one pays a comparison at each.

use std::sync::Arc;

/// A point on the way of a change. Declared in the order in which each change passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// By the journal: records are in it.
    JournalWritten,
    /// By the journal: they are on the disk.
    JournalSynced,
    /// Put: the bytes are in a temporary file.
    TemporaryWritten,
    /// Put: they are on the disk.
    TemporarySynced,
    /// Writer: bytes are in the upload file.
    UploadWritten,
    /// Commit and close: they are on the disk.
    UploadSynced,
    /// Put, commit and rename: the file has its name; the name is not on the disk yet.
    Renamed,
    /// Delete: the folder is renamed out of the way, and not removed yet.
    SetAside,
    /// The folder with the new or removed name is on the disk, for all who wait.
    FolderSynced,
    /// Everything of the file system is on the disk, for all who wait: before the two steps that say that bytes are, and before
    /// the one that says that names are, with [`FlushBy::Filesystem`](super::FlushBy::Filesystem).
    FilesystemSynced,
}

/// Called at each [`Step`], on the thread that works.
pub type Observer = Arc<dyn Fn(Step) + Send + Sync>;

/// The observer, if there is one.
#[derive(Clone, Default)]
pub(super) struct Steps(pub(super) Option<Observer>);

impl Steps {
    pub(super) fn reached(&self, step: Step) {
        if let Some(observer) = &self.0 {
            observer(step);
        }
    }
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "observed"
        } else {
            "not observed"
        })
    }
}
