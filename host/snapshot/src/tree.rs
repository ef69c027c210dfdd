//! A way through a tree by descriptors: never through a link, never into another mount, however deep.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use transom_sys::{DirEntry, Errno, FileType, Linux, OFlags, ResolveFlags, Sys as _};

use crate::limits::OPEN_FOLDERS;

pub(crate) mod copy;
pub(crate) mod remove;
pub(crate) mod usage;

/// Where a walk stands.
#[derive(Debug)]
pub(crate) struct Descent {
    here: OwnedFd,
    /// The folders above, from the first; those far up are closed.
    above: Vec<Above>,
    /// The names of the folders below the first.
    names: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Above {
    fd: Option<OwnedFd>,
    inode: (u64, u64),
}

impl Descent {
    /// Stands in the folder `name` of `dir`.
    pub(crate) fn begin(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Descent, Errno> {
        Ok(Descent {
            here: open(dir, name)?,
            above: Vec::new(),
            names: Vec::new(),
        })
    }

    /// The folder.
    pub(crate) fn here(&self) -> BorrowedFd<'_> {
        self.here.as_fd()
    }

    /// Its name in the folder above; none for the first.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        self.names.last().map(Vec::as_slice)
    }

    /// The way from the first folder to `name` in this one.
    pub(crate) fn path(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.names.join(&b'/');
        if !path.is_empty() && !name.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Goes down.
    pub(crate) fn enter(&mut self, name: &[u8]) -> Result<(), Errno> {
        let child = open(self.here(), name)?;
        let inode = inode(self.here())?;
        let fd = std::mem::replace(&mut self.here, child);
        self.above.push(Above { fd: Some(fd), inode });
        self.names.push(name.to_vec());
        if let Some(far) = self.above.len().checked_sub(OPEN_FOLDERS + 1) {
            self.above[far].fd = None;
        }
        Ok(())
    }

    /// Goes up; the name of the folder that was left. `ESTALE` if somebody has moved it meanwhile.
    pub(crate) fn leave(&mut self) -> Result<Option<Vec<u8>>, Errno> {
        let Some(above) = self.above.pop() else {
            return Ok(None);
        };
        let fd = match above.fd {
            Some(fd) => fd,
            None => Linux.openat(self.here(), b"..", OFlags::RDONLY | OFlags::DIRECTORY, 0)?,
        };
        if inode(fd.as_fd())? != above.inode {
            return Err(Errno::STALE);
        }
        self.here = fd;
        Ok(self.names.pop())
    }
}

/// Opens a folder: no link, no mount.
fn open(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match Linux.openat2(dir, name, flags, 0, resolve) {
        // Before Linux 5.6. Mounts of the same file system are not told apart then.
        Err(Errno::NOSYS) => {
            let folder = Linux.openat(dir, name, flags, 0)?;
            if inode(folder.as_fd())?.0 == inode(dir)?.0 {
                Ok(folder)
            } else {
                Err(Errno::XDEV)
            }
        }
        other => other,
    }
}

fn inode(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let stat = Linux.fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// What is done on a walk.
pub(crate) trait Visitor {
    /// A folder was entered. Answers the folders in it that the walk is to enter.
    fn enter(&mut self, at: &Descent) -> Result<Vec<Vec<u8>>, Errno>;

    /// Everything below the folder is done; it is left next.
    fn finish(&mut self, _at: &Descent) -> Result<(), Errno> {
        Ok(())
    }

    /// The folder `name` was left.
    fn left(&mut self, _at: &Descent, _name: &[u8]) -> Result<(), Errno> {
        Ok(())
    }

    /// The folder `name` could not be entered, for the first time or again. Answers whether to try again.
    fn refused(&mut self, at: &Descent, name: &[u8], error: Errno, first: bool) -> Result<bool, Errno>;
}

/// A walk that ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    /// In which folder, from the first one.
    pub(crate) path: Vec<u8>,
    /// Why.
    pub(crate) error: Errno,
}

/// Visits a folder and everything below it.
pub(crate) fn walk(mut at: Descent, visitor: &mut impl Visitor) -> Result<(), Failure> {
    through(&mut at, visitor).map_err(|error| Failure {
        path: at.path(b""),
        error,
    })
}

fn through(at: &mut Descent, visitor: &mut impl Visitor) -> Result<(), Errno> {
    let mut waiting = vec![visitor.enter(at)?];
    while let Some(folders) = waiting.last_mut() {
        if let Some(name) = folders.pop() {
            if go_down(at, visitor, &name)? {
                waiting.push(visitor.enter(at)?);
            }
            continue;
        }
        waiting.pop();
        visitor.finish(at)?;
        if let Some(name) = at.leave()? {
            visitor.left(at, &name)?;
        }
    }
    Ok(())
}

fn go_down(at: &mut Descent, visitor: &mut impl Visitor, name: &[u8]) -> Result<bool, Errno> {
    let mut first = true;
    loop {
        match at.enter(name) {
            Ok(()) => return Ok(true),
            Err(error) => {
                if !visitor.refused(at, name, error, first)? {
                    return Ok(false);
                }
                first = false;
            }
        }
    }
}

/// Calls `each` for every name in a folder.
pub(crate) fn each(
    dir: BorrowedFd<'_>,
    mut each: impl FnMut(DirEntry) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut entries = Vec::new();
    while Linux.getdents(dir, &mut entries)? {
        entries.drain(..).try_for_each(&mut each)?;
    }
    Ok(())
}

/// The type that a mode speaks of.
pub(crate) fn kind(mode: u32) -> FileType {
    FileType::from_raw_mode(mode)
}
