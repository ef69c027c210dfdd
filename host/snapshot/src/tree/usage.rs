//! What a tree takes on disk.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;

use transom_meta::snapshots::Usage;
use transom_sys::{Errno, FileType, Linux, Stat, Sys as _};

use super::{Descent, Failure, Visitor, each, kind};

/// Bytes of one of `stat`'s blocks.
const BLOCK: u64 = 512;

/// Measures the folder `name` in `dir`, with everything in it. What others remove meanwhile is left out.
pub(crate) fn measure(dir: BorrowedFd<'_>, name: &str) -> Result<Usage, Failure> {
    let begun = Descent::begin(dir, name.as_bytes()).map_err(|error| Failure {
        path: Vec::new(),
        error,
    })?;
    let mut measure = Measure::default();
    super::walk(begun, &mut measure)?;
    Ok(measure.usage)
}

#[derive(Default)]
struct Measure {
    usage: Usage,
    /// Files with several names that were counted.
    seen: HashSet<(u64, u64)>,
}

impl Measure {
    fn count(&mut self, stat: &Stat, folder: bool) {
        if !folder && stat.st_nlink > 1 && !self.seen.insert((stat.st_dev, stat.st_ino)) {
            return;
        }
        self.usage.inodes += 1;
        self.usage.size += u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK;
    }
}

impl Visitor for Measure {
    fn enter(&mut self, at: &Descent) -> Result<Vec<Vec<u8>>, Errno> {
        self.count(&Linux.fstat(at.here())?, true);
        let mut folders = Vec::new();
        each(at.here(), |entry| {
            if entry.kind == FileType::Directory {
                folders.push(entry.name);
                return Ok(());
            }
            match Linux.statat(at.here(), &entry.name) {
                Ok(stat) if kind(stat.st_mode) == FileType::Directory => folders.push(entry.name),
                Ok(stat) => self.count(&stat, false),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        Ok(folders)
    }

    fn refused(&mut self, _at: &Descent, _name: &[u8], error: Errno, _first: bool) -> Result<bool, Errno> {
        match error {
            // Gone, or replaced by something else; or another mount, which is not the snapshot's.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Ok(false),
            error => Err(error),
        }
    }
}
