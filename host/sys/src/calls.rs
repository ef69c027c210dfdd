//! The trait over the file-system calls, and the types its methods share.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, ResolveFlags, Stat, Timespec, XattrFlags};
use rustix::io::Errno;

/// What a call answers: the value, or the kernel's error number.
pub type Result<T> = std::result::Result<T, Errno>;

/// The two times that `utimensat(2)` sets.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Time of the last access.
    pub accessed: Timespec,
    /// Time of the last change of the content.
    pub modified: Timespec,
}

/// One name in a folder.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// The name as the file system keeps it; never `.` or `..`.
    pub name: Vec<u8>,
    /// Its type; [`FileType::Unknown`] where the file system does not say.
    pub kind: FileType,
}

/// The calls, one method each; the manual page of the same name in section 2 says what they do and how they fail.
///
/// Names are single parts of a path, or paths where the manual says so, as bytes without NUL (a NUL answers `EINVAL`).
/// A method that acts on a name never follows a symbolic link in its last part, except [`Sys::fchmodat`], which cannot
/// do otherwise on Linux before 6.6.
pub trait Sys {
    /// `openat2(2)`: opens `path` with `resolve` rules, which bind every part of it.
    fn openat2(
        &self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        mode: u32,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd>;

    /// `openat(2)`. `O_CLOEXEC` is always added.
    fn openat(&self, dir: BorrowedFd<'_>, name: &[u8], flags: OFlags, mode: u32) -> Result<OwnedFd>;

    /// `close(2)`.
    fn close(&self, fd: OwnedFd);

    /// `mkdirat(2)`.
    fn mkdirat(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<()>;

    /// `mknodat(2)` with the numbers of a device (0, 0 for a fifo).
    fn mknodat(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        kind: FileType,
        mode: u32,
        device: (u32, u32),
    ) -> Result<()>;

    /// `symlinkat(2)`: `target` is stored as it is.
    fn symlinkat(&self, target: &[u8], dir: BorrowedFd<'_>, name: &[u8]) -> Result<()>;

    /// `linkat(2)` without `AT_SYMLINK_FOLLOW`: a link to a symbolic link is a second name for that link.
    fn linkat(&self, old_dir: BorrowedFd<'_>, old: &[u8], new_dir: BorrowedFd<'_>, new: &[u8]) -> Result<()>;

    /// `unlinkat(2)` of anything but a folder.
    fn unlinkat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()>;

    /// `unlinkat(2)` with `AT_REMOVEDIR`: removes an empty folder.
    fn rmdirat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()>;

    /// `readlinkat(2)`: the whole target.
    fn readlinkat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>>;

    /// `fstat(2)`; works on `O_PATH` descriptors too.
    fn fstat(&self, fd: BorrowedFd<'_>) -> Result<Stat>;

    /// `fstatat(2)` with `AT_SYMLINK_NOFOLLOW`.
    fn statat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Stat>;

    /// One `getdents64(2)`: the next names of a folder opened for reading. None left when `entries` comes back empty
    /// from a call that answered `false`; `true` means that the call gave something, were it only `.` and `..`.
    fn getdents(&self, dir: BorrowedFd<'_>, entries: &mut Vec<DirEntry>) -> Result<bool>;

    /// `fchown(2)`.
    fn fchown(&self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()>;

    /// `fchownat(2)` with `AT_SYMLINK_NOFOLLOW`.
    fn fchownat(&self, dir: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> Result<()>;

    /// `fchmod(2)`.
    fn fchmod(&self, fd: BorrowedFd<'_>, mode: u32) -> Result<()>;

    /// `fchmodat(2)`. It follows a symbolic link: the caller must know that `name` is none.
    fn fchmodat(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<()>;

    /// `futimens(3)`.
    fn futimens(&self, fd: BorrowedFd<'_>, times: Times) -> Result<()>;

    /// `utimensat(2)` with `AT_SYMLINK_NOFOLLOW`.
    fn utimensat(&self, dir: BorrowedFd<'_>, name: &[u8], times: Times) -> Result<()>;

    /// `fsetxattr(2)`.
    fn fsetxattr(&self, fd: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: XattrFlags) -> Result<()>;

    /// `lsetxattr(2)` of `/proc/self/fd/DIR/NAME`, the only way to symbolic links and special files.
    fn setxattrat(&self, dir: BorrowedFd<'_>, name: &[u8], key: &[u8], value: &[u8]) -> Result<()>;

    /// `getxattr(2)` of `/proc/self/fd/FD`, which serves `O_PATH` descriptors too.
    fn getxattr(&self, fd: BorrowedFd<'_>, key: &[u8]) -> Result<Vec<u8>>;

    /// `lgetxattr(2)` of `/proc/self/fd/DIR/NAME`, which follows no link.
    fn getxattrat(&self, dir: BorrowedFd<'_>, name: &[u8], key: &[u8]) -> Result<Vec<u8>>;

    /// `listxattr(2)` of `/proc/self/fd/FD`: the names, which serves `O_PATH` descriptors too.
    fn listxattr(&self, fd: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>>;

    /// `read(2)`: how many bytes were put into `buffer`; 0 at the end.
    fn read(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize>;

    /// `write(2)`: how many bytes were taken, which may be fewer than given.
    fn write(&self, fd: BorrowedFd<'_>, data: &[u8]) -> Result<usize>;

    /// `pwrite(2)` at `offset` bytes from the start.
    fn pwrite(&self, fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<usize>;

    /// `ftruncate(2)`: sets the length, as a hole where the file grows.
    fn ftruncate(&self, fd: BorrowedFd<'_>, length: u64) -> Result<()>;

    /// `fsync(2)` of a file, or of a folder opened for reading, whose names then outlast a power loss.
    fn fsync(&self, fd: BorrowedFd<'_>) -> Result<()>;

    /// `syncfs(2)`: writes back the whole file system that `fd` is on.
    fn syncfs(&self, fd: BorrowedFd<'_>) -> Result<()>;

    /// The user and group that new files get: the effective ids of the calling thread.
    fn effective_ids(&self) -> (u32, u32);

    /// Whether this process is in a user namespace other than the first one (see [`crate::linux::is_user_namespace`]).
    fn in_user_namespace(&self) -> bool;
}
