//! The named points of a commit, a close and an abort.
//!
//! A store may be opened with an [`Observer`] that is called at each point. The crash tests kill the process there, the
//! order tests write the points down, and the race tests let another thread run in between. A store without one pays one
//! comparison per point, beside the system calls between the points; so the hook needs no cargo feature, and what
//! is tested is what is shipped.

use std::sync::Arc;

/// A point that an ingest passes on its way. Declared in the order in which a commit passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// The ingest folder is made or found, and open; locking it is next.
    FolderOpened,
    /// The ingest folder is made (or found) and locked; a new one is still empty.
    FolderMade,
    /// All files of a new ingest are written, none is synced.
    IngestReady,
    /// A piece of data is in the file, and not yet counted in the offset.
    DataWritten,
    /// Commit: the data is on the disk.
    DataSynced,
    /// Commit: size and digest are right, and the blob's folder exists durably; the rename is next.
    Checked,
    /// Commit: the data bears the blob's name, which is not yet on the disk.
    Renamed,
    /// Commit: the name is on the disk too. From here the blob survives a power cut.
    NameSynced,
    /// Commit: access and modification time are set; removing the ingest folder is next.
    TimesSet,
    /// Commit: the ingest folder is gone; making the blob read-only is next.
    IngestRemoved,
    /// Commit: all is done.
    Sealed,
    /// Close without commit: the data is on the disk, the metadata files not yet.
    CloseSynced,
    /// Abort and sweep: the folder is renamed out of the way, and removing it is next.
    SetAside,
}

/// Called at each [`Step`], on the thread that works.
pub type Observer = Arc<dyn Fn(Step) + Send + Sync>;

/// The observer, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Steps(pub(crate) Option<Observer>);

impl Steps {
    pub(crate) fn reached(&self, step: Step) {
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
            "unobserved"
        })
    }
}
