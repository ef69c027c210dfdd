//! Handles of the folders that entries go into, kept for as long as they mean the same.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use transom_sys::{Errno, FileType, OFlags, Sys};

use super::limits::HANDLES;
use super::name::split;
use super::resolve::{Make, Resolver, or_root};

/// The setgid bit of a folder, which gives its group to what is created in it.
pub(super) const SETGID: u32 = 0o2000;

/// An open folder.
pub(super) struct Folder<'r> {
    /// `None` for the root.
    fd: Option<OwnedFd>,
    root: BorrowedFd<'r>,
    /// Whether a link may lie on the way that its path in the archive takes.
    through_link: bool,
    facts: OnceCell<Facts>,
}

/// What creating something in a folder depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) inode: u64,
    /// The group that new files get, where it is the folder's and not the creator's.
    pub(super) group: Option<u32>,
    /// Whether an ACL changes the mode of new files.
    pub(super) default_acl: bool,
}

impl Folder<'_> {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        or_root(self.fd.as_ref(), self.root)
    }

    /// Looks the facts up once; the ACL only if there may be one.
    pub(super) fn facts<S: Sys>(&self, sys: &S, look_for_acl: bool) -> Result<Facts, Errno> {
        if let Some(facts) = self.facts.get() {
            return Ok(*facts);
        }
        let stat = sys.fstat(self.fd())?;
        let default_acl = look_for_acl && has_default_acl(sys, self.fd());
        let group = (stat.st_mode & SETGID != 0).then_some(stat.st_gid);
        Ok(*self.facts.get_or_init(|| Facts {
            inode: stat.st_ino,
            group,
            default_acl,
        }))
    }
}

/// Whether the folder gives something on to what is created in it: its group, or an ACL.
pub(super) fn gives_on<S: Sys>(sys: &S, fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(sys.fstat(fd)?.st_mode & SETGID != 0 || has_default_acl(sys, fd))
}

/// Whether the folder has a default ACL. Where that cannot be told there is none.
pub(super) fn has_default_acl<S: Sys>(sys: &S, fd: BorrowedFd<'_>) -> bool {
    sys.getxattr(fd, b"system.posix_acl_default").is_ok()
}

/// The handles, by the folder's cleaned path in the archive.
pub(super) struct Folders<'r, 's, S> {
    sys: &'s S,
    root: BorrowedFd<'r>,
    pub(super) resolver: Rc<Resolver<'s, S>>,
    known: HashMap<Vec<u8>, (Rc<Folder<'r>>, u64)>,
    clock: u64,
}

impl<'r, 's, S: Sys> Folders<'r, 's, S> {
    pub(super) fn new(sys: &'s S, root: BorrowedFd<'r>) -> Self {
        Self {
            sys,
            root,
            resolver: Rc::new(Resolver::new(sys)),
            known: HashMap::new(),
            clock: 0,
        }
    }

    /// The folder `path`, a cleaned path; missing ones are made with `make`, or else are `ENOENT`.
    pub(super) fn get(&mut self, path: &[u8], make: Option<Make<'_>>) -> Result<Rc<Folder<'r>>, Errno> {
        if let Some(folder) = self.known(path) {
            return Ok(folder);
        }
        let (fd, through_link) = match self.below_known(path)? {
            Some(opened) => opened,
            None if path.is_empty() => (None, false),
            None => (self.resolver.folder(self.root, path, make)?, true),
        };
        let folder = Rc::new(Folder {
            fd,
            root: self.root,
            through_link,
            facts: OnceCell::new(),
        });
        self.keep(path, &folder);
        Ok(folder)
    }

    /// The folder `path`, which may have `..` in it; not kept.
    pub(super) fn get_unclean(&self, path: &[u8]) -> Result<Rc<Folder<'r>>, Errno> {
        let fd = self.resolver.folder(self.root, path, None)?;
        Ok(Rc::new(Folder {
            fd,
            root: self.root,
            through_link: true,
            facts: OnceCell::new(),
        }))
    }

    fn known(&mut self, path: &[u8]) -> Option<Rc<Folder<'r>>> {
        let (folder, used) = self.known.get_mut(path)?;
        self.clock += 1;
        *used = self.clock;
        Some(folder.clone())
    }

    /// Opens a folder from the one above when that is at hand: one part, no link. `None` if it takes more than that.
    fn below_known(&mut self, path: &[u8]) -> Result<Option<(Option<OwnedFd>, bool)>, Errno> {
        let (up, name) = split(path);
        if name.is_empty() {
            return Ok(None);
        }
        let above = self.known(up);
        if above.is_none() && !up.is_empty() {
            return Ok(None);
        }
        let (dir, through_link) = above
            .as_ref()
            .map_or((self.root, false), |above| (above.fd(), above.through_link));
        match self
            .sys
            .openat(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)
        {
            Ok(fd) => Ok(Some((Some(fd), through_link))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn keep(&mut self, path: &[u8], folder: &Rc<Folder<'r>>) {
        if self.known.len() >= HANDLES {
            // Half go at once, the longest unused, so that the search for them is rare.
            let mut uses: Vec<u64> = self.known.values().map(|(_, used)| *used).collect();
            let middle = uses.len() / 2;
            let (_, median, _) = uses.select_nth_unstable(middle);
            let median = *median;
            self.known.retain(|_, (_, used)| *used > median);
        }
        self.clock += 1;
        self.known.insert(path.to_vec(), (folder.clone(), self.clock));
    }

    /// Forgets what may mean something else now that a thing of this type was removed.
    pub(super) fn removed(&mut self, kind: FileType) {
        match kind {
            FileType::Directory => self.forget(),
            FileType::Symlink => self.known.retain(|_, (folder, _)| !folder.through_link),
            // No path leads through anything else.
            _ => {}
        }
    }

    /// Forgets all.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}
