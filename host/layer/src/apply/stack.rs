//! The folders from a root down to where a walk stands.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use transom_sys::{Errno, OFlags, Sys};

use super::limits::STACK;

/// A way down from a root, of which only the last folders are kept open, so that no tree is too deep for the limit of
/// open files. A folder that was closed is opened again through `..`, and must then be the one it was.
pub(crate) struct FolderStack<'r> {
    root: BorrowedFd<'r>,
    below: Vec<Level>,
    flags: OFlags,
    /// One more than the folders kept open below the root.
    keep: usize,
}

enum Level {
    Open(OwnedFd),
    /// Device and inode of a folder that is not kept open.
    Closed(u64, u64),
}

impl<'r> FolderStack<'r> {
    /// Stands at `root`; folders further down are opened with `flags`.
    pub(crate) fn new(root: BorrowedFd<'r>, flags: OFlags) -> Self {
        Self::keeping(root, flags, STACK)
    }

    /// The same with fewer than `keep` folders open at a time, two at least.
    pub(crate) fn keeping(root: BorrowedFd<'r>, flags: OFlags, keep: usize) -> Self {
        Self {
            root,
            below: Vec::new(),
            flags: flags | OFlags::DIRECTORY | OFlags::NOFOLLOW,
            keep: keep.max(2),
        }
    }

    /// The folder where the walk stands.
    pub(crate) fn top(&self) -> BorrowedFd<'_> {
        match self.below.last() {
            None => self.root,
            Some(Level::Open(fd)) => fd.as_fd(),
            // `pop` opens the folder that it uncovers, and `push` closes only folders far below the last.
            Some(Level::Closed(..)) => unreachable!("the last folder of a walk is always open"),
        }
    }

    /// Goes into `name`, which must be a folder and no link.
    pub(crate) fn enter<S: Sys>(&mut self, sys: &S, name: &[u8]) -> Result<(), Errno> {
        let fd = sys.openat(self.top(), name, self.flags, 0)?;
        self.below.push(Level::Open(fd));
        if let Some(index) = self.below.len().checked_sub(self.keep)
            && let Level::Open(fd) = &self.below[index]
        {
            let stat = sys.fstat(fd.as_fd())?;
            self.below[index] = Level::Closed(stat.st_dev, stat.st_ino);
        }
        Ok(())
    }

    /// Goes up one folder; stays at the root.
    pub(crate) fn leave<S: Sys>(&mut self, sys: &S) -> Result<(), Errno> {
        let Some(left) = self.below.pop() else {
            return Ok(());
        };
        let (Some(Level::Closed(device, inode)), Level::Open(left)) = (self.below.last(), &left) else {
            return Ok(());
        };
        let fd = sys.openat(left.as_fd(), b"..", self.flags, 0)?;
        let stat = sys.fstat(fd.as_fd())?;
        if (stat.st_dev, stat.st_ino) != (*device, *inode) {
            // Someone moves folders about in the tree while it is being unpacked.
            return Err(Errno::STALE);
        }
        self.below.pop();
        self.below.push(Level::Open(fd));
        Ok(())
    }

    /// Goes back to the root.
    pub(super) fn restart(&mut self) {
        self.below.clear();
    }

    /// Gives the folder where the walk stands away; `None` if that is the root.
    pub(super) fn into_top(mut self) -> Option<OwnedFd> {
        match self.below.pop() {
            Some(Level::Open(fd)) => Some(fd),
            _ => None,
        }
    }
}
