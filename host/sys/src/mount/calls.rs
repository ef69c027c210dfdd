//! The trait over the calls about mounts, and the types its methods share.

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags};

use crate::calls::{Result, Sys};

/// What one `fsconfig(2)` does to a file system that is being set up.
#[derive(Clone, Copy, Debug)]
pub enum Setting<'a> {
    /// Turns an option on that has no value.
    Flag(&'a str),
    /// Gives an option a value, of at most 255 bytes.
    Text(&'a str, &'a str),
    /// Makes the file system with what was set before.
    Create,
}

/// How a loop device reads and writes its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoopOptions {
    /// Nothing can be written through it.
    pub read_only: bool,
    /// It goes past the page cache (`O_DIRECT`).
    pub direct_io: bool,
}

/// How a program ended that was waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Whether it ended with status 0.
    pub success: bool,
    /// What it wrote to its output and its error output, the newest part of it.
    pub output: String,
}

/// The calls about mounts, one method each; the manual page of the same name in section 2 says what they do and how they
/// fail. Those that need root are all here, so that a fake can answer them without it.
///
/// Paths are bytes without NUL (a NUL answers `EINVAL`) and follow symbolic links unless it says otherwise.
pub trait MountSys: Sys {
    /// `mount(2)` with any flags but those for propagation. `folder`, if given, is the working folder of the call, on
    /// which relative paths in `data` stand; the caller's own is untouched.
    fn mount(
        &self,
        source: &[u8],
        target: &[u8],
        kind: &[u8],
        flags: MountFlags,
        data: &[u8],
        folder: Option<BorrowedFd<'_>>,
    ) -> Result<()>;

    /// `mount(2)` that changes the propagation of what is mounted at `target`.
    fn propagate(&self, target: &[u8], change: MountPropagationFlags) -> Result<()>;

    /// `umount2(2)`.
    fn unmount(&self, target: &[u8], flags: UnmountFlags) -> Result<()>;

    /// `fsopen(2)`: begins to set up a file system.
    fn fsopen(&self, kind: &str) -> Result<OwnedFd>;

    /// `fsconfig(2)`.
    fn fsconfig(&self, setup: BorrowedFd<'_>, setting: Setting<'_>) -> Result<()>;

    /// `read(2)` of what `fsopen` gave, until nothing is left: the kernel's messages about what was asked of it.
    fn fs_messages(&self, setup: BorrowedFd<'_>) -> String;

    /// `fsmount(2)`: a mount of what was set up, in no place yet.
    fn fsmount(&self, setup: BorrowedFd<'_>, attributes: MountAttrFlags) -> Result<OwnedFd>;

    /// `open_tree(2)` with `OPEN_TREE_CLONE`: a second mount of what is at `path`, in no place yet; with `recursive`
    /// also of all that is mounted below.
    fn clone_tree(&self, path: &[u8], recursive: bool) -> Result<OwnedFd>;

    /// `move_mount(2)` of a mount that is in no place yet to `target`.
    fn move_mount(&self, mount: BorrowedFd<'_>, target: &[u8]) -> Result<()>;

    /// `mount_setattr(2)` of a mount in no place yet and of all below it: makes it private, sets `attributes`, and maps
    /// its ids as `user_namespace` does.
    fn map_ids(
        &self,
        mount: BorrowedFd<'_>,
        user_namespace: BorrowedFd<'_>,
        attributes: MountAttrFlags,
    ) -> Result<()>;

    /// A user namespace with the lines of `uids` and `gids` as its maps, made by a child that is gone when this returns.
    fn user_namespace(&self, uids: &str, gids: &str) -> Result<OwnedFd>;

    /// `statfs(2)`: the magic number of the file system at `path`, and its `ST_…` flags.
    fn statfs(&self, path: &[u8]) -> Result<(u64, u64)>;

    /// The text of `/proc/thread-self/mountinfo`.
    fn mount_info(&self) -> Result<Vec<u8>>;

    /// `LOOP_CTL_GET_FREE`: the number of a loop device that is free, until somebody takes it.
    fn loop_free(&self) -> Result<u32>;

    /// Opens the loop device of this number.
    fn loop_open(&self, number: u32, read_only: bool) -> Result<OwnedFd>;

    /// `LOOP_CONFIGURE` (Linux 5.8): gives the device its file and its options, with autoclear. `name` is for people.
    fn loop_configure(
        &self,
        device: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        name: &[u8],
        options: LoopOptions,
    ) -> Result<()>;

    /// `LOOP_SET_FD`: gives the device its file.
    fn loop_set_file(&self, device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<()>;

    /// `LOOP_SET_STATUS64`: options of a device that has its file, with autoclear; direct I/O is not among them.
    fn loop_set_status(&self, device: BorrowedFd<'_>, name: &[u8], read_only: bool) -> Result<()>;

    /// `LOOP_SET_DIRECT_IO`: on.
    fn loop_set_direct_io(&self, device: BorrowedFd<'_>) -> Result<()>;

    /// `LOOP_CLR_FD`: takes the file from the device.
    fn loop_clear(&self, device: BorrowedFd<'_>) -> Result<()>;

    /// Runs a program, found as the system finds programs, with exactly these arguments, and waits for it. `ECHILD` if
    /// somebody else waited for it first.
    fn run(&self, program: &str, arguments: &[OsString]) -> io::Result<Ended>;

    /// Waits.
    fn pause(&self, time: Duration);
}
