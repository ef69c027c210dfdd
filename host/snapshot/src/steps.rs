//! The named points of what a snapshotter does.
//!
//! A snapshotter may be opened with an [`Observer`] that is called at each point: the crash tests kill the process there.
//! Without one a point costs one comparison.

use std::fmt;
use std::sync::Arc;

/// A point on the way of a call. Declared in the order in which a call passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// Prepare, view: there is a folder with a temporary name, and nothing in it.
    FolderMade,
    /// Prepare, view: the folder is filled, for `native` durably; giving it its name is next.
    FolderFilled,
    /// Prepare, view: the folder has its name; writing the record is next.
    FolderNamed,
    /// Prepare, view: the record is durable.
    Recorded,
    /// Commit: what the snapshot takes is known; bringing it to the disk is next.
    Measured,
    /// Commit: the files are on the disk; changing the records is next.
    Synced,
    /// Commit: the records are durable.
    Committed,
    /// Remove: the record is gone durably; removing the files is next.
    Forgotten,
    /// Remove, cleanup: a folder is gone.
    FolderRemoved,
}

impl Step {
    /// Every step.
    pub const ALL: [Step; 9] = [
        Step::FolderMade,
        Step::FolderFilled,
        Step::FolderNamed,
        Step::Recorded,
        Step::Measured,
        Step::Synced,
        Step::Committed,
        Step::Forgotten,
        Step::FolderRemoved,
    ];
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

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "observed"
        } else {
            "unobserved"
        })
    }
}
