//! A copy of a tree: owners, modes, times, extended attributes, hard links and holes included, sockets left out.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd};

use transom_sys::{DirEntry, Errno, FileType, Linux, OFlags, Stat, Sys as _, Times, Timespec, XattrFlags};

use super::{Descent, Failure, Visitor, each, kind};

mod data;

use data::Data;

/// Copies what is in the folder `name` of `dir` into the empty folder `new`, and the folder's own attributes too.
pub(crate) fn copy(dir: BorrowedFd<'_>, name: &str, new: BorrowedFd<'_>) -> Result<(), Failure> {
    let fail = |error| Failure {
        path: Vec::new(),
        error,
    };
    let from = Descent::begin(dir, name.as_bytes()).map_err(fail)?;
    let mut copy = Copy {
        root: new,
        to: Descent::begin(new, b".").map_err(fail)?,
        links: HashMap::new(),
        data: Data::default(),
    };
    super::walk(from, &mut copy)
}

struct Copy<'n> {
    root: BorrowedFd<'n>,
    /// Where the copy of the walk's folder is.
    to: Descent,
    /// Where files with several names were copied to.
    links: HashMap<(u64, u64), Vec<u8>>,
    data: Data,
}

impl Visitor for Copy<'_> {
    fn enter(&mut self, at: &Descent) -> Result<Vec<Vec<u8>>, Errno> {
        if let Some(name) = at.name() {
            // Only its owner until all of it is there.
            Linux.mkdirat(self.to.here(), name, 0o700)?;
            self.to.enter(name)?;
        }
        let mut folders = Vec::new();
        each(at.here(), |entry| {
            let stat = Linux.statat(at.here(), &entry.name)?;
            match kind(stat.st_mode) {
                FileType::Directory => folders.push(entry.name),
                // It means nothing without the process that listens.
                FileType::Socket => {}
                _ => self.file(at, &entry, &stat)?,
            }
            Ok(())
        })?;
        Ok(folders)
    }

    fn finish(&mut self, at: &Descent) -> Result<(), Errno> {
        let to = self.to.here();
        let stat = Linux.fstat(at.here())?;
        Linux.fchown(to, stat.st_uid, stat.st_gid)?;
        Linux.fchmod(to, stat.st_mode & 0o7777)?;
        attributes(at.here(), |key, value| {
            Linux.fsetxattr(to, key, value, XattrFlags::empty())
        })?;
        Linux.futimens(to, times(&stat))
    }

    fn left(&mut self, _at: &Descent, _name: &[u8]) -> Result<(), Errno> {
        self.to.leave().map(drop)
    }

    fn refused(&mut self, _at: &Descent, _name: &[u8], error: Errno, _first: bool) -> Result<bool, Errno> {
        match error {
            Errno::XDEV => Err(Errno::BUSY),
            error => Err(error),
        }
    }
}

impl Copy<'_> {
    /// Anything but a folder or a socket.
    fn file(&mut self, at: &Descent, entry: &DirEntry, stat: &Stat) -> Result<(), Errno> {
        let name = entry.name.as_slice();
        if stat.st_nlink > 1 && self.link(name, stat)? {
            return Ok(());
        }
        let to = self.to.here();
        match kind(stat.st_mode) {
            FileType::RegularFile => return self.regular(at.here(), name),
            FileType::Symlink => {
                let target = Linux.readlinkat(at.here(), name)?;
                Linux.symlinkat(&target, to, name)?;
            }
            kind => {
                let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                Linux.mknodat(to, name, kind, 0o600, device)?;
            }
        }
        Linux.fchownat(to, name, stat.st_uid, stat.st_gid)?;
        if kind(stat.st_mode) != FileType::Symlink {
            Linux.fchmodat(to, name, stat.st_mode & 0o7777)?;
        }
        let from = Linux.openat(at.here(), name, OFlags::PATH | OFlags::NOFOLLOW, 0)?;
        attributes(from.as_fd(), |key, value| Linux.setxattrat(to, name, key, value))?;
        Linux.utimensat(to, name, times(stat))
    }

    /// Makes another name for a file that was copied already. Answers whether that is done.
    fn link(&mut self, name: &[u8], stat: &Stat) -> Result<bool, Errno> {
        let inode = (stat.st_dev, stat.st_ino);
        let Some(first) = self.links.get(&inode) else {
            self.links.insert(inode, self.to.path(name));
            return Ok(false);
        };
        match Linux.linkat(self.root, first, self.to.here(), name) {
            Ok(()) => Ok(true),
            // Its first name lies too deep for a path, or the file system takes no more names: a second file then.
            Err(Errno::NAMETOOLONG | Errno::MLINK) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn regular(&mut self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let from = Linux.openat(dir, name, flags | OFlags::RDONLY, 0)?;
        let stat = Linux.fstat(from.as_fd())?;
        let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let to = Linux.openat(self.to.here(), name, flags, 0o600)?;
        let length = u64::try_from(stat.st_size).unwrap_or_default();
        self.data.copy(from.as_fd(), to.as_fd(), length)?;
        Linux.fchown(to.as_fd(), stat.st_uid, stat.st_gid)?;
        Linux.fchmod(to.as_fd(), stat.st_mode & 0o7777)?;
        attributes(from.as_fd(), |key, value| {
            Linux.fsetxattr(to.as_fd(), key, value, XattrFlags::empty())
        })?;
        Linux.futimens(to.as_fd(), times(&stat))
    }
}

/// Hands all extended attributes to `set`. Those that one of the two file systems does not have are left out.
fn attributes(
    from: BorrowedFd<'_>,
    mut set: impl FnMut(&[u8], &[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let keys = match Linux.listxattr(from) {
        Ok(keys) => keys,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error),
    };
    for key in keys {
        let value = match Linux.getxattr(from, &key) {
            Ok(value) => value,
            Err(Errno::NODATA | Errno::NOTSUP) => continue,
            Err(error) => return Err(error),
        };
        match set(&key, &value) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn times(stat: &Stat) -> Times {
    let time = |seconds: i64, nanos: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanos).unwrap_or_default(),
    };
    Times {
        accessed: time(stat.st_atime, stat.st_atime_nsec),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
