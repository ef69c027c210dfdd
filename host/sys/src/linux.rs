//! The real calls.

use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, RawDir, ResolveFlags, Stat, Timestamps, Uid, XattrFlags,
};
use rustix::io::{Errno, retry_on_intr};

use crate::calls::{DirEntry, Result, Sys, Times};

/// The size of a `getdents64` buffer: what glibc uses, so about a thousand names a call.
const DIR_BUFFER: usize = 32 * 1024;

/// The largest value of an extended attribute and of a list of their names on Linux (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const XATTR_MAX: usize = 64 * 1024;

/// Bytes that the values of most extended attributes have room in.
const XATTR_SHORT: usize = 256;

/// The system calls of the running Linux.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linux;

/// Whether the text of `/proc/self/uid_map` is that of a user namespace other than the first one, whose map is the
/// whole range of ids onto itself.
pub fn is_user_namespace(uid_map: &str) -> bool {
    let mut lines = uid_map.lines();
    let Some(first) = lines.next() else { return false };
    let numbers: Vec<&str> = first.split_whitespace().collect();
    lines.next().is_some() || numbers != ["0", "0", "4294967295"]
}

/// The name under which the kernel shows an open descriptor, with `name` in it when that is not empty.
fn proc_path(fd: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(32);
    // Writing to a String cannot fail.
    let _ = write!(text, "/proc/self/fd/{}", fd.as_raw_fd());
    let mut path = text.into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

fn times(times: Times) -> Timestamps {
    Timestamps {
        last_access: times.accessed,
        last_modification: times.modified,
    }
}

fn ids(uid: u32, gid: u32) -> (Option<Uid>, Option<Gid>) {
    // u32::MAX is chown's own "leave it" value, and not a valid id.
    let uid = (uid != u32::MAX).then(|| Uid::from_raw(uid));
    let gid = (gid != u32::MAX).then(|| Gid::from_raw(gid));
    (uid, gid)
}

impl Sys for Linux {
    fn openat2(
        &self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        mode: u32,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        retry_on_intr(|| fs::openat2(dir, path, flags, Mode::from_raw_mode(mode), resolve))
    }

    fn openat(&self, dir: BorrowedFd<'_>, name: &[u8], flags: OFlags, mode: u32) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        retry_on_intr(|| fs::openat(dir, name, flags, Mode::from_raw_mode(mode)))
    }

    fn close(&self, fd: OwnedFd) {
        drop(fd);
    }

    fn mkdirat(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<()> {
        fs::mkdirat(dir, name, Mode::from_raw_mode(mode))
    }

    fn mknodat(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        kind: FileType,
        mode: u32,
        device: (u32, u32),
    ) -> Result<()> {
        fs::mknodat(
            dir,
            name,
            kind,
            Mode::from_raw_mode(mode),
            fs::makedev(device.0, device.1),
        )
    }

    fn symlinkat(&self, target: &[u8], dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        fs::symlinkat(target, dir, name)
    }

    fn linkat(&self, old_dir: BorrowedFd<'_>, old: &[u8], new_dir: BorrowedFd<'_>, new: &[u8]) -> Result<()> {
        fs::linkat(old_dir, old, new_dir, new, AtFlags::empty())
    }

    fn unlinkat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        fs::unlinkat(dir, name, AtFlags::empty())
    }

    fn rmdirat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
    }

    fn readlinkat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>> {
        Ok(fs::readlinkat(dir, name, Vec::new())?.into_bytes())
    }

    fn fstat(&self, fd: BorrowedFd<'_>) -> Result<Stat> {
        fs::fstat(fd)
    }

    fn statat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Stat> {
        fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn getdents(&self, dir: BorrowedFd<'_>, entries: &mut Vec<DirEntry>) -> Result<bool> {
        entries.clear();
        let mut buffer = [MaybeUninit::uninit(); DIR_BUFFER];
        let mut names = RawDir::new(dir, &mut buffer);
        let mut any = false;
        // The names of one buffer only: asking on would be a second call.
        while !any || !names.is_buffer_empty() {
            let Some(entry) = names.next() else { break };
            let entry = entry?;
            any = true;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                entries.push(DirEntry {
                    name: name.to_vec(),
                    kind: entry.file_type(),
                });
            }
        }
        Ok(any)
    }

    fn fchown(&self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = ids(uid, gid);
        fs::fchown(fd, uid, gid)
    }

    fn fchownat(&self, dir: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = ids(uid, gid);
        fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn fchmod(&self, fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
        fs::fchmod(fd, Mode::from_raw_mode(mode))
    }

    fn fchmodat(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<()> {
        fs::chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())
    }

    fn futimens(&self, fd: BorrowedFd<'_>, t: Times) -> Result<()> {
        fs::futimens(fd, &times(t))
    }

    fn utimensat(&self, dir: BorrowedFd<'_>, name: &[u8], t: Times) -> Result<()> {
        fs::utimensat(dir, name, &times(t), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn fsetxattr(&self, fd: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        fs::fsetxattr(fd, key, value, flags)
    }

    fn setxattrat(&self, dir: BorrowedFd<'_>, name: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        fs::lsetxattr(proc_path(dir, name), key, value, XattrFlags::empty())
    }

    fn getxattr(&self, fd: BorrowedFd<'_>, key: &[u8]) -> Result<Vec<u8>> {
        let mut value = vec![0; XATTR_MAX];
        let length = fs::getxattr(proc_path(fd, b""), key, &mut value[..])?;
        value.truncate(length);
        Ok(value)
    }

    fn getxattrat(&self, dir: BorrowedFd<'_>, name: &[u8], key: &[u8]) -> Result<Vec<u8>> {
        let path = proc_path(dir, name);
        // What is asked of every file of a tree is short.
        let mut short = [0; XATTR_SHORT];
        match fs::lgetxattr(&path, key, &mut short[..]) {
            Ok(length) => Ok(short[..length].to_vec()),
            Err(Errno::RANGE) => {
                let mut value = vec![0; XATTR_MAX];
                let length = fs::lgetxattr(&path, key, &mut value[..])?;
                value.truncate(length);
                Ok(value)
            }
            Err(errno) => Err(errno),
        }
    }

    fn listxattr(&self, fd: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
        let mut list = vec![0_u8; XATTR_MAX];
        let length = fs::listxattr(proc_path(fd, b""), &mut list[..])?;
        Ok(list[..length]
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect())
    }

    fn read(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
        retry_on_intr(|| rustix::io::read(fd, &mut *buffer))
    }

    fn write(&self, fd: BorrowedFd<'_>, data: &[u8]) -> Result<usize> {
        retry_on_intr(|| rustix::io::write(fd, data))
    }

    fn pwrite(&self, fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<usize> {
        retry_on_intr(|| rustix::io::pwrite(fd, data, offset))
    }

    fn ftruncate(&self, fd: BorrowedFd<'_>, length: u64) -> Result<()> {
        if i64::try_from(length).is_err() {
            return Err(Errno::FBIG);
        }
        retry_on_intr(|| fs::ftruncate(fd, length))
    }

    fn fsync(&self, fd: BorrowedFd<'_>) -> Result<()> {
        retry_on_intr(|| fs::fsync(fd))
    }

    fn syncfs(&self, fd: BorrowedFd<'_>) -> Result<()> {
        fs::syncfs(fd)
    }

    fn effective_ids(&self) -> (u32, u32) {
        (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        )
    }

    fn in_user_namespace(&self) -> bool {
        // Without /proc there is nothing to tell; the kernel then answers EPERM where it matters.
        std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| is_user_namespace(&map))
    }
}
