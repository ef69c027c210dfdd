//! From a folder's path in the archive to the folder, as if the root were the whole file system.
//!
//! The kernel does it in one call where it knows `openat2`; a walk part by part does it where that is missing or
//! forbidden, and where folders on the way have to be made.

use std::cell::Cell;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use transom_sys::{Errno, OFlags, ResolveFlags, Sys};

use super::limits::{LINKS_MAX, PARTS_MAX};
use super::stack::FolderStack;

/// Resolves folders inside roots.
pub(super) struct Resolver<'s, S> {
    sys: &'s S,
    /// Whether `openat2` has not been refused yet.
    has_openat2: Cell<bool>,
}

/// Makes a missing folder: the folder it belongs in, its name, and its path from the root.
pub(super) type Make<'m> = &'m mut dyn FnMut(BorrowedFd<'_>, &[u8], &[Vec<u8>]) -> Result<(), Errno>;

/// Where a walk has got to.
struct Walk<'r> {
    stack: FolderStack<'r>,
    /// The names of the folders in the stack.
    names: Vec<Vec<u8>>,
    /// Names below those that do not exist.
    missing: Vec<Vec<u8>>,
    links: u32,
    parts: u32,
}

impl<'s, S: Sys> Resolver<'s, S> {
    pub(super) fn new(sys: &'s S) -> Self {
        Self {
            sys,
            has_openat2: Cell::new(true),
        }
    }

    /// Opens the folder `path` in `root`, all links on the way followed inside it. With `make`, missing folders are made,
    /// also where a link leads to nothing; without it they are `ENOENT`. `None` is the root itself.
    pub(super) fn folder(
        &self,
        root: BorrowedFd<'_>,
        path: &[u8],
        make: Option<Make<'_>>,
    ) -> Result<Option<OwnedFd>, Errno> {
        if self.has_openat2.get() {
            match self.by_kernel(root, path) {
                Ok(fd) => return Ok(Some(fd)),
                // Not known, not with these flags, or forbidden by a sandbox.
                Err(Errno::NOSYS | Errno::TOOBIG | Errno::PERM | Errno::INVAL) => self.has_openat2.set(false),
                // A walk may still find it (more than 40 links, `missing/..` in a link, a rename meanwhile), or make it.
                Err(Errno::LOOP | Errno::AGAIN | Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.by_walking(root, path, make)
    }

    fn by_kernel(&self, root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        self.sys.openat2(root, path, flags, 0, resolve)
    }

    fn by_walking(
        &self,
        root: BorrowedFd<'_>,
        path: &[u8],
        make: Option<Make<'_>>,
    ) -> Result<Option<OwnedFd>, Errno> {
        let stack = FolderStack::new(root, OFlags::PATH);
        let mut walk = Walk {
            stack,
            names: Vec::new(),
            missing: Vec::new(),
            links: 0,
            parts: 0,
        };
        // The parts still to go, the next one last.
        let mut rest: Vec<Vec<u8>> = Vec::new();
        push_parts(&mut rest, path);
        while let Some(part) = rest.pop() {
            self.step(&mut walk, part, &mut rest)?;
        }
        if !walk.missing.is_empty() {
            let make = make.ok_or(Errno::NOENT)?;
            for name in std::mem::take(&mut walk.missing) {
                walk.names.push(name);
                let name = walk.names.last().map_or(&b""[..], Vec::as_slice);
                make(walk.stack.top(), name, &walk.names)?;
                walk.stack.enter(self.sys, name)?;
            }
        }
        Ok(walk.stack.into_top())
    }

    fn step(&self, walk: &mut Walk<'_>, part: Vec<u8>, rest: &mut Vec<Vec<u8>>) -> Result<(), Errno> {
        walk.parts += 1;
        if walk.parts > PARTS_MAX {
            return Err(Errno::LOOP);
        }
        if part == b".." {
            if walk.missing.pop().is_none() {
                walk.stack.leave(self.sys)?;
                walk.names.pop();
            }
            return Ok(());
        }
        if !walk.missing.is_empty() {
            walk.missing.push(part);
            return Ok(());
        }
        match walk.stack.enter(self.sys, &part) {
            Ok(()) => walk.names.push(part),
            Err(Errno::NOENT) => walk.missing.push(part),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let target = match self.sys.readlinkat(walk.stack.top(), &part) {
                    Err(Errno::INVAL) => return Err(Errno::NOTDIR),
                    other => other?,
                };
                walk.links += 1;
                if walk.links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                if target.starts_with(b"/") {
                    walk.stack.restart();
                    walk.names.clear();
                }
                push_parts(rest, &target);
            }
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// Opens the folder `path` of another tree, to look at it. `None` is that tree's root, or nothing there.
    pub(super) fn has_folder(&self, root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
        match self.folder(root, path, None) {
            Err(Errno::NOENT) => Ok(None),
            other => other,
        }
    }
}

fn push_parts(rest: &mut Vec<Vec<u8>>, path: &[u8]) {
    let parts = path.split(|&byte| byte == b'/').rev();
    rest.extend(
        parts
            .filter(|part| !part.is_empty() && *part != b".")
            .map(<[u8]>::to_vec),
    );
}

/// Whether `fd` can be used as the folder of a call.
pub(super) fn or_root<'a>(fd: Option<&'a OwnedFd>, root: BorrowedFd<'a>) -> BorrowedFd<'a> {
    fd.map_or(root, |fd| fd.as_fd())
}
