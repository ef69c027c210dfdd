//! Removing a tree: as much of it as can be removed, and nothing that is mounted in it.

use std::os::fd::BorrowedFd;

use transom_sys::{Errno, FileType, Linux, Sys as _};

use super::{Descent, Failure, Visitor, each};

/// Removes `name` from `dir` with everything in it. Nothing there is fine. What cannot be removed stays, with the folders
/// above it; the first such name is the error.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &str) -> Result<(), Failure> {
    let fail = |error| Failure {
        path: Vec::new(),
        error,
    };
    let name = name.as_bytes();
    let begun = match begin(dir, name) {
        Ok(begun) => begun,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return gone(Linux.unlinkat(dir, name)).map_err(fail),
        Err(error) => return Err(fail(error)),
    };
    let mut removal = Removal::default();
    super::walk(begun, &mut removal)?;
    match removal.leftover {
        Some(leftover) => Err(leftover),
        None => gone(Linux.rmdirat(dir, name)).map_err(fail),
    }
}

fn begin(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Descent, Errno> {
    match Descent::begin(dir, name) {
        Err(Errno::ACCESS) => {
            Linux.fchmodat(dir, name, 0o700)?;
            Descent::begin(dir, name)
        }
        other => other,
    }
}

/// Somebody else may have been faster.
fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[derive(Default)]
struct Removal {
    leftover: Option<Failure>,
}

impl Removal {
    fn stays(&mut self, at: &Descent, name: &[u8], error: Errno) {
        self.leftover.get_or_insert_with(|| Failure {
            path: at.path(name),
            error,
        });
    }
}

impl Visitor for Removal {
    fn enter(&mut self, at: &Descent) -> Result<Vec<Vec<u8>>, Errno> {
        let mut folders = Vec::new();
        each(at.here(), |entry| {
            if entry.kind == FileType::Directory {
                folders.push(entry.name);
                return Ok(());
            }
            match gone(Linux.unlinkat(at.here(), &entry.name)) {
                Ok(()) => {}
                Err(Errno::ISDIR) => folders.push(entry.name),
                Err(error) => self.stays(at, &entry.name, error),
            }
            Ok(())
        })?;
        Ok(folders)
    }

    fn left(&mut self, at: &Descent, name: &[u8]) -> Result<(), Errno> {
        match gone(Linux.rmdirat(at.here(), name)) {
            // What stays in it is known.
            Err(Errno::NOTEMPTY) if self.leftover.is_some() => {}
            Err(error) => self.stays(at, name, error),
            Ok(()) => {}
        }
        Ok(())
    }

    fn refused(&mut self, at: &Descent, name: &[u8], error: Errno, first: bool) -> Result<bool, Errno> {
        match error {
            // Its owner may change that. It is a folder of this one: a link would have been unlinked.
            Errno::ACCESS if first => return Ok(Linux.fchmodat(at.here(), name, 0o700).is_ok()),
            Errno::NOENT => {}
            Errno::XDEV => self.stays(at, name, Errno::BUSY),
            error => self.stays(at, name, error),
        }
        Ok(false)
    }
}
