//! How the driver is opened.

use rustix::fd::AsFd;
use rustix::fs::{FsWord, fstatfs};

use super::steps::Observer;
use crate::limits;

/// What is up to whoever opens the driver.
#[derive(Clone)]
pub struct Options {
    /// Calls that work at a time.
    pub threads: usize,
    /// How what was written is brought to the disk; `None` for what suits the file system.
    pub flush: Option<FlushBy>,
    /// Small changes are written to a journal first, with [`FlushBy::Filesystem`], and wait for the disk once.
    pub journal: bool,
    /// Told of every step.
    pub observer: Option<Observer>,
}

/// How what was written is brought to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushBy {
    /// Everything of the file system at once (`syncfs(2)`), for all who wait. A change waits for the disk twice, however many
    /// clients there are, and also for what other programs have written to the same file system.
    Filesystem,
    /// Each file and each folder by itself (`fsync(2)`), which costs more, and is all that some file systems know.
    Folders,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            threads: limits::THREADS as usize,
            flush: None,
            journal: true,
            observer: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("threads", &self.threads)
            .field("flush", &self.flush)
            .field("journal", &self.journal)
            .field("observed", &self.observer.is_some())
            .finish()
    }
}

/// File systems of which `syncfs(2)` is known to bring files and names to the disk and to tell of errors: ext2 to ext4, XFS, btrfs
/// and F2FS. FUSE, for one, does not tell its server of it.
const WHOLE: [FsWord; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];

impl FlushBy {
    /// What suits the file system of a folder.
    pub(super) fn of(folder: impl AsFd) -> rustix::io::Result<FlushBy> {
        match WHOLE.contains(&fstatfs(folder)?.f_type) {
            true => Ok(FlushBy::Filesystem),
            false => Ok(FlushBy::Folders),
        }
    }
}
