//! Whether a name stands for the same thing in both trees (containerd's rules, of its library continuity).
//!
//! The same inode is the same. Otherwise mode, owner, device number and capabilities must be equal, and for all but
//! folders the size and the time of the last change. A time whose nanoseconds are zero on both sides may have been cut
//! off by a tar: then the content decides, or the target of a symbolic link.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use transom_sys::{Errno, FileType, OFlags, Stat, Sys};

use super::limits::COMPARE_BYTES;
use super::overlay::{OverlayMarks, capability};
use crate::cancel::Cancel;

/// One side of a comparison.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) stat: &'a Stat,
}

/// What came of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Different,
    /// The content is in another layer of the overlay.
    NoContent,
}

/// Compares content, with memory that is kept from one file to the next.
pub(super) struct Comparer<'s, S> {
    sys: &'s S,
    cancel: Cancel,
    marks: Option<OverlayMarks>,
    buffers: [Vec<u8>; 2],
}

impl<'s, S: Sys> Comparer<'s, S> {
    pub(super) fn new(sys: &'s S, cancel: Cancel, marks: Option<OverlayMarks>) -> Self {
        Self {
            sys,
            cancel,
            marks,
            buffers: [Vec::new(), Vec::new()],
        }
    }

    /// Compares `name` in the lower and the upper tree.
    pub(super) fn compare(
        &mut self,
        name: &[u8],
        lower: Side<'_>,
        upper: Side<'_>,
    ) -> Result<Verdict, Errno> {
        let (a, b) = (lower.stat, upper.stat);
        if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) {
            return Ok(Verdict::Same);
        }
        if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev) {
            return Ok(Verdict::Different);
        }
        let is_folder = FileType::from_raw_mode(a.st_mode) == FileType::Directory;
        if !is_folder && !stamps_agree(a, b) {
            return Ok(Verdict::Different);
        }
        let sys = self.sys;
        if capability(sys, lower.dir, name)? != capability(sys, upper.dir, name)? {
            return Ok(Verdict::Different);
        }
        if is_folder || a.st_mtime_nsec != 0 {
            return Ok(Verdict::Same);
        }
        match FileType::from_raw_mode(a.st_mode) {
            FileType::Symlink => {
                let same = sys.readlinkat(lower.dir, name)? == sys.readlinkat(upper.dir, name)?;
                Ok(if same { Verdict::Same } else { Verdict::Different })
            }
            FileType::RegularFile if a.st_size > 0 => self.content(name, lower.dir, upper.dir),
            _ => Ok(Verdict::Same),
        }
    }

    fn content(
        &mut self,
        name: &[u8],
        lower: BorrowedFd<'_>,
        upper: BorrowedFd<'_>,
    ) -> Result<Verdict, Errno> {
        if let Some(marks) = self.marks {
            let sys = self.sys;
            if marks.has_no_content(sys, lower, name)? || marks.has_no_content(sys, upper, name)? {
                return Ok(Verdict::NoContent);
            }
        }
        let files = [
            open_file(self.sys, lower, name)?,
            open_file(self.sys, upper, name)?,
        ];
        let verdict = self.read_both(&files);
        for file in files {
            self.sys.close(file);
        }
        verdict
    }

    fn read_both(&mut self, files: &[OwnedFd; 2]) -> Result<Verdict, Errno> {
        for buffer in &mut self.buffers {
            buffer.resize(COMPARE_BYTES, 0);
        }
        loop {
            if self.cancel.is_requested() {
                return Err(Errno::CANCELED);
            }
            let mut lengths = [0; 2];
            for (side, file) in files.iter().enumerate() {
                lengths[side] = read_full(self.sys, file.as_fd(), &mut self.buffers[side])?;
            }
            let [a, b] = &self.buffers;
            if a[..lengths[0]] != b[..lengths[1]] {
                return Ok(Verdict::Different);
            }
            if lengths[0] < COMPARE_BYTES {
                return Ok(Verdict::Same);
            }
        }
    }
}

/// Whether size and time are equal.
fn stamps_agree(a: &Stat, b: &Stat) -> bool {
    (a.st_size, a.st_mtime, a.st_mtime_nsec) == (b.st_size, b.st_mtime, b.st_mtime_nsec)
}

/// Opens a file to read it, and nothing else: a fifo that took its place is not waited for.
pub(super) fn open_file<S: Sys>(sys: &S, dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    sys.openat(dir, name, flags, 0)
}

fn read_full<S: Sys>(sys: &S, file: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut length = 0;
    while length < buffer.len() {
        match sys.read(file, &mut buffer[length..])? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}
