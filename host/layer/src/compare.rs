//! The changes between two trees as a layer: containerd's double walk, and a short way for overlayfs.
//!
//! Read in the order of the work: `view` (a tree, which may be an overlay's layers), `overlay` (what those say in extended
//! attributes), `walk` (both trees in step), `same` (when nothing changed), `trail` (the folders on the way), `links` (files
//! with several names), `emit` (from changes to tar entries), `flow` (the threads around it); [`limits`], [`error`] and
//! [`report`].
//!
//! ```text
//! walk + read ─┬▶ diffID
//!              └▶ compress ─▶ digest + sink
//! ```
//!
//! The plain tar is byte for byte what containerd 2 writes for the same trees, except that
//! - names of files on different file systems that share an inode's number are not taken for hard links;
//! - what a socket took the place of gets a whiteout (containerd leaves the old file in the image);
//! - names that begin with `.wh.` are left out: in a layer they would hide other names;
//! - a name that is listed and then gone counts as never listed, where containerd gives up. Overlayfs itself lists such
//!   names, whiteouts in folders that no lower layer has.
//!
//! A file that grows while it is read gives the bytes that it had when it was opened; one that becomes shorter, or is
//! replaced by another, is an error.

mod emit;
pub mod error;
mod flow;
pub mod limits;
mod links;
mod overlay;
pub mod report;
mod same;
mod trail;
mod view;
mod walk;

use std::io::Write;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use transom_sys::{Linux, Sys};

pub use error::CompareError;
pub use limits::CompareLimits;
pub use overlay::OverlayMarks;
pub use report::{CompareReport, Counts};

use crate::buffer::Pool;
use crate::cancel::Cancel;
use crate::compress::Compression;
use crate::workers::Workers;

/// What is compared. The folders need not be open for more than looking up (`O_PATH`).
#[derive(Debug)]
pub enum Changes {
    /// Two trees, both walked.
    Trees {
        /// The tree before; `None` is an empty one.
        lower: Option<OwnedFd>,
        /// The tree after.
        upper: OwnedFd,
    },
    /// The folders of an overlay. Only the upper one is walked, and what is in it looked up in the lower ones; the result
    /// is that of [`Changes::Trees`] with the lower folders and with all of them mounted as overlays. Ids must not be
    /// mapped by the mount.
    Overlay {
        /// What was the upper folder, or would be the uppermost lower one.
        upper: OwnedFd,
        /// The lower folders, nearest first.
        lowers: Vec<OwnedFd>,
        /// Where the overlay keeps its marks.
        marks: OverlayMarks,
    },
}

/// How the layer is written.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Seconds since 1970 that no entry's time exceeds.
    pub source_date_epoch: Option<i64>,
    /// How it is compressed.
    pub compression: Compression,
    /// What it may cost.
    pub limits: CompareLimits,
    /// The request to stop.
    pub cancel: Cancel,
    /// Threads that compress; the output does not depend on it.
    pub compressors: NonZero<usize>,
    /// Where buffers come from.
    pub pool: Pool,
    /// The threads.
    pub workers: Workers,
}

impl Default for CompareOptions {
    /// gzip with as many threads as there are cores.
    fn default() -> Self {
        Self {
            source_date_epoch: None,
            compression: Compression::default(),
            limits: CompareLimits::default(),
            cancel: Cancel::new(),
            compressors: thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            pool: Pool::new(),
            workers: Workers::new(),
        }
    }
}

/// Writes what changed as a layer into `sink`.
///
/// Nothing is changed in the trees. Whoever changes them meanwhile makes it undefined which of their changes are seen;
/// nothing outside the given folders is ever read.
///
/// # Errors
/// [`CompareError`]; what the sink has got by then must be thrown away. After [`CompareError::Cannot`] the mounted trees
/// can be compared instead.
pub fn compare(
    changes: Changes,
    options: &CompareOptions,
    sink: &mut dyn Write,
) -> Result<CompareReport, CompareError> {
    compare_with(Arc::new(Linux), changes, options, sink)
}

/// [`compare`] with the system calls of `sys`.
///
/// # Errors
/// As [`compare`].
pub fn compare_with<S: Sys + Send + Sync + 'static>(
    sys: Arc<S>,
    changes: Changes,
    options: &CompareOptions,
    sink: &mut dyn Write,
) -> Result<CompareReport, CompareError> {
    flow::run(sys, changes, options, sink)
}
