//! From the entries of a plain tar to files below a root folder: an OCI layer's changeset, applied as containerd does.
//!
//! Read in the order of the work: `worker` (the loop over entries), `name` (what a name means), `folders`, `resolve` and
//! `stack` (from a path to an open folder, never by a string that the kernel resolves freely), `parents` (folders that the
//! archive does not list), `create` and `attributes` (one entry), `whiteout`, `unpacked` and `remove` (what a layer takes
//! away), `later` (folder times at the end); [`limits`], [`error`] and [`report`].
//!
//! Where containerd's `archive.Apply` is followed by its rules but not to the letter:
//! - a whiteout never removes what its own layer has unpacked, in whatever order the two come (containerd keeps that rule
//!   for opaque markers only, and forgets folders that the layer does not list);
//! - sparse files in GNU's own format are unpacked, and all sparse files keep their holes;
//! - ids and device numbers that Linux would cut off are refused instead of becoming others;
//! - a PAX global header does not remove the file that has its name;
//! - `..` after a link in a link's target leads up from where that link leads to, as in the kernel, and not by text;
//! - a folder that a later entry takes away is no error when its times would be set.

mod attributes;
mod create;
pub mod error;
mod folders;
mod later;
pub mod limits;
mod name;
mod parents;
mod remove;
pub mod report;
mod resolve;
pub(crate) mod stack;
mod unpacked;
mod whiteout;
mod worker;

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use transom_sys::{Errno, Linux, OFlags, PrivateUmask, Sys};

pub use error::ApplyError;
pub use limits::ApplyLimits;
pub use report::{ApplyReport, Counts, Warning, Warnings};
pub use whiteout::OVERLAY_OPAQUE;

use crate::tar::ChunkSource;

/// How whiteouts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhiteoutFormat {
    /// By removing what they hide, which the root folder holds from lower layers.
    #[default]
    Plain,
    /// As overlayfs wants them in an upper folder: a character device 0:0, and `trusted.overlay.opaque`. Needs root in the
    /// first user namespace.
    Overlay,
    /// As they are in the archive, `.wh.` files: what aufs wants in a branch.
    Keep,
}

/// Whose the files become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The numbers in the archive; names are not looked at. Needs root for numbers other than the caller's.
    #[default]
    Keep,
    /// The caller's: no owner is set, devices are left out with a warning, and so are extended attributes that only root
    /// may set.
    Ignore,
}

/// How a layer is applied.
#[derive(Debug, Default)]
pub struct ApplyOptions {
    /// How whiteouts are written.
    pub whiteouts: WhiteoutFormat,
    /// Whose the files become.
    pub ownership: Ownership,
    /// The lower layers' folders, topmost first. A folder that the archive needs but does not list gets owner, mode,
    /// times and extended attributes from the first of them that has it. They are opened only when such a folder comes,
    /// for there may be hundreds; one that is not there has nothing.
    pub parents: Vec<PathBuf>,
    /// What the archive may cost.
    pub limits: ApplyLimits,
}

/// Applies the tar in `source` to the folder `root`, and reads `source` to its end.
///
/// Nothing outside `root` is touched, whatever the archive says; the caller sees to it that nobody else changes the tree
/// meanwhile. The calling thread gets a umask of its own for the time of the call (see [`PrivateUmask`]).
///
/// Follows the OCI image specification, "Image Layer Filesystem Changeset", and containerd's `archive.Apply` where that
/// leaves something open.
///
/// # Errors
/// [`ApplyError`]; what was created before stays, see [`remove_contents`].
pub fn apply(
    source: &mut dyn ChunkSource,
    root: BorrowedFd<'_>,
    options: &ApplyOptions,
) -> Result<ApplyReport, ApplyError> {
    apply_with(&Linux, source, root, options)
}

/// [`apply`] with the system calls of `sys`.
///
/// # Errors
/// As [`apply`].
pub fn apply_with<S: Sys>(
    sys: &S,
    source: &mut dyn ChunkSource,
    root: BorrowedFd<'_>,
    options: &ApplyOptions,
) -> Result<ApplyReport, ApplyError> {
    // Where a sandbox forbids it, modes are set after creation.
    let umask = PrivateUmask::clear().ok();
    worker::Worker::new(sys, root, options, umask.is_some())?.run(source)
}

/// Gives folders of a tree that was applied without [`parents`](ApplyOptions::parents) what these would have given them: those
/// that its [report](ApplyReport::implicit) names. `false` if one of the parents' folders would also have given something on to what is
/// in it, a group or an ACL: then the layer must be applied anew.
///
/// # Errors
/// The kernel's refusal of the first folder that could not be changed.
pub fn adopt(
    root: BorrowedFd<'_>,
    parents: &[PathBuf],
    folders: &BTreeMap<u64, Vec<u8>>,
) -> Result<bool, Errno> {
    parents::adopt(&Linux, root, parents, folders)
}

/// Whether the folder gives something on to what is created in it: its group, or an ACL.
///
/// # Errors
/// The kernel's refusal to look at it.
pub fn gives_on(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    folders::gives_on(&Linux, folder)
}

/// Removes everything in the folder `root`, by descriptor and without following links: for cleaning up after a failed
/// [`apply`] into a folder that was empty.
///
/// # Errors
/// The kernel's refusal of the first thing that could not be removed.
pub fn remove_contents(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let listed = Linux.openat(root, b".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    remove::empty(&Linux, listed.as_fd(), None)?;
    Ok(())
}

/// Whether nothing is in the folder `root`.
///
/// # Errors
/// The kernel's refusal to list it.
pub fn is_empty(root: BorrowedFd<'_>) -> Result<bool, Errno> {
    remove::is_empty(&Linux, root)
}
