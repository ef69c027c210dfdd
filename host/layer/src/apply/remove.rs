//! Removing trees by descriptor, never through a link.

use std::os::fd::{AsFd as _, BorrowedFd};

use transom_sys::{Errno, FileType, OFlags, Sys};

use super::stack::FolderStack;
use super::unpacked::Unpacked;

/// One folder on the way down.
struct Frame {
    /// Its name in the folder above; empty for the first.
    name: Vec<u8>,
    /// The folders in it that are still to be gone through.
    folders: Vec<Vec<u8>>,
    /// Its inode, if something is to be spared.
    inode: u64,
    /// Whether something in it stays.
    stays: bool,
}

/// Removes `name` in `dir`, and if it is a folder everything in it, except what `spared` has. Nothing there is fine.
/// Answers whether the name is gone.
pub(super) fn remove<S: Sys>(
    sys: &S,
    dir: BorrowedFd<'_>,
    name: &[u8],
    spared: Option<&Unpacked>,
) -> Result<bool, Errno> {
    let spare_it = match spared {
        Some(unpacked) => unpacked.contains(sys.fstat(dir)?.st_ino, name),
        None => false,
    };
    if spare_it {
        match sys.statat(dir, name) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            Ok(_) => return Ok(false),
            Err(Errno::NOENT) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    } else {
        match sys.unlinkat(dir, name) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let emptied = empty_child(sys, dir, name, spared)?;
    if spare_it || !emptied {
        return Ok(false);
    }
    sys.rmdirat(dir, name)?;
    Ok(true)
}

fn empty_child<S: Sys>(
    sys: &S,
    dir: BorrowedFd<'_>,
    name: &[u8],
    spared: Option<&Unpacked>,
) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let child = match sys.openat(dir, name, flags, 0) {
        Err(Errno::ACCESS) => {
            // Its owner may change that; the link check was the failed unlink.
            sys.fchmodat(dir, name, 0o700)?;
            sys.openat(dir, name, flags, 0)?
        }
        other => other?,
    };
    let emptied = empty(sys, child.as_fd(), spared)?;
    sys.close(child);
    Ok(emptied)
}

/// Removes everything in the folder `dir`, which must be open for reading, except what `spared` has and the folders
/// above that. Answers whether the folder is empty now.
pub(super) fn empty<S: Sys>(sys: &S, dir: BorrowedFd<'_>, spared: Option<&Unpacked>) -> Result<bool, Errno> {
    let mut stack = FolderStack::new(dir, OFlags::RDONLY);
    let mut frame = list(sys, dir, Vec::new(), spared)?;
    let mut above = Vec::new();
    loop {
        if let Some(name) = frame.folders.pop() {
            match stack.enter(sys, &name) {
                Err(Errno::ACCESS) => {
                    sys.fchmodat(stack.top(), &name, 0o700)?;
                    stack.enter(sys, &name)?;
                }
                other => other?,
            }
            above.push(frame);
            frame = list(sys, stack.top(), name, spared)?;
            continue;
        }
        let Some(next) = above.pop() else {
            return Ok(!frame.stays);
        };
        let done = std::mem::replace(&mut frame, next);
        stack.leave(sys)?;
        if done.stays || spared.is_some_and(|unpacked| unpacked.contains(frame.inode, &done.name)) {
            frame.stays = true;
        } else {
            sys.rmdirat(stack.top(), &done.name)?;
        }
    }
}

/// Removes what is no folder from `dir` and notes the folders.
fn list<S: Sys>(
    sys: &S,
    dir: BorrowedFd<'_>,
    name: Vec<u8>,
    spared: Option<&Unpacked>,
) -> Result<Frame, Errno> {
    let inode = if spared.is_some() {
        sys.fstat(dir)?.st_ino
    } else {
        0
    };
    let mut frame = Frame {
        name,
        folders: Vec::new(),
        inode,
        stays: false,
    };
    let mut entries = Vec::new();
    while sys.getdents(dir, &mut entries)? {
        for entry in entries.drain(..) {
            if entry.kind == FileType::Directory {
                frame.folders.push(entry.name);
                continue;
            }
            if spared.is_some_and(|unpacked| unpacked.contains(inode, &entry.name))
                && !is_folder(sys, dir, &entry)?
            {
                frame.stays = true;
                continue;
            }
            match sys.unlinkat(dir, &entry.name) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => frame.folders.push(entry.name),
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(frame)
}

/// Whether an entry is a folder where the file system did not say so.
fn is_folder<S: Sys>(sys: &S, dir: BorrowedFd<'_>, entry: &transom_sys::DirEntry) -> Result<bool, Errno> {
    if entry.kind != FileType::Unknown {
        return Ok(false);
    }
    let stat = sys.statat(dir, &entry.name)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Whether nothing is in the folder `dir`, however it was opened.
pub(super) fn is_empty<S: Sys>(sys: &S, dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let listed = sys.openat(dir, b".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let mut entries = Vec::new();
    let mut is_empty = true;
    while is_empty && sys.getdents(listed.as_fd(), &mut entries)? {
        is_empty = entries.is_empty();
    }
    sys.close(listed);
    Ok(is_empty)
}
