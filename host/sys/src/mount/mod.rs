//! Mounts: containerd's descriptions of them, mounted, unmounted, and mounted for a while.
//!
//! Read in this order:
//! 1. [`description`]: [`Mount`], what snapshotters give out and clients send; `variants`: the same for other purposes;
//! 2. [`calls`]: the trait [`MountSys`], one method per system call;
//! 3. `options`: what the words of a mount mean; `overlay`: the text of overlay's options;
//! 4. `place`: where a mount goes;
//! 5. `sequence`: one mount, step by step, with `layers` for overlays, `loops` for files, `idmap` for mapped ids, and
//!    `fuse` for file systems of programs;
//! 6. `stack`: several mounts, all or none; `unmount`; [`info`]: what is mounted;
//! 7. [`temp`]: mounts in folders that go with them;
//! 8. [`error`] and [`limits`];
//! 9. `linux`: the real calls, with `userns` for user namespaces; `recorded`: the calls as the recording fake makes or
//!    pretends them.

pub mod calls;
pub mod description;
pub mod error;
mod fuse;
mod idmap;
pub mod info;
mod layers;
pub mod limits;
mod linux;
mod loops;
mod options;
mod overlay;
mod place;
mod recorded;
mod sequence;
mod stack;
pub mod temp;
mod unmount;
mod userns;
mod variants;

use std::path::Path;

pub use calls::MountSys;
pub use description::Mount;
pub use error::MountError;
pub use info::MountInfo;
pub(crate) use recorded::Pretended;
pub use rustix::mount::UnmountFlags;
pub use temp::{TempMount, TempMounts};
pub use variants::{read_only, without_id_maps, without_volatile};

use crate::linux::Linux;

/// Mounts all of `mounts`, in order, at `target` or at the places in it that they name. Those places, and `target`, must
/// exist. A mount's own target never leads out of `target`, whatever links are on the way.
///
/// # Errors
/// Any [`MountError`]; what was mounted before is unmounted again.
pub fn mount_all(mounts: &[Mount], target: &Path) -> Result<(), MountError> {
    on(&Linux, mounts, target)
}

/// As [`mount_all`], with other calls.
///
/// # Errors
/// Those of [`mount_all`].
pub fn on<S: MountSys>(sys: &S, mounts: &[Mount], target: &Path) -> Result<(), MountError> {
    stack::mount_all(sys, mounts, target).map(drop)
}

/// Takes everything off `target` that is mounted there, and says how many mounts that were; a target that is missing has
/// none. While one is busy it waits, up to 2.5 seconds in all.
///
/// # Errors
/// [`MountError::Busy`] after that, [`MountError::Unmount`] otherwise.
pub fn unmount_all(target: &Path, flags: UnmountFlags) -> Result<usize, MountError> {
    unmount::unmount_all(&Linux, target, flags)
}

/// Takes everything off that is mounted at `target` or below it, the deepest first, and says how many mounts that were.
///
/// # Errors
/// As [`unmount_all`], at the first mount that stays; and [`MountError::MountInfo`].
pub fn unmount_recursive(target: &Path, flags: UnmountFlags) -> Result<usize, MountError> {
    unmount::unmount_recursive(&Linux, target, flags, limits::UNMOUNT_TRIES)
}

#[cfg(test)]
mod tests;
