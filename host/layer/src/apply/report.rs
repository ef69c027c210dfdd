//! What `apply` tells about its work.

use std::collections::BTreeMap;

use super::error::printable;
use super::limits::IMPLICIT_MAX;

/// What was done, for the caller's report.
#[derive(Clone, Debug, Default)]
pub struct ApplyReport {
    /// Entries of the archive, without extension headers.
    pub entries: u64,
    /// Bytes of file content written; holes are not counted.
    pub bytes: u64,
    /// The sum of the sizes in the headers: what containerd reports as the layer's size.
    pub size: u64,
    /// Bytes of the tar stream, with headers, filling and what follows the end.
    pub stream_bytes: u64,
    /// How many of each kind.
    pub counts: Counts,
    /// What was skipped, and why.
    pub warnings: Warnings,
    /// The folders that the archive needed and did not list, by their inodes: their paths below the root, without links. What
    /// they are like depends on the layers below. The first ones only ([`IMPLICIT_MAX`](super::limits::IMPLICIT_MAX)); `implicit` of
    /// the counts says how many there were.
    pub implicit: BTreeMap<u64, Vec<u8>>,
}

/// How many entries of each kind were handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Regular files.
    pub files: u64,
    /// Folders, also those that were there and only got the entry's metadata.
    pub folders: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Hard links.
    pub hard_links: u64,
    /// Devices.
    pub devices: u64,
    /// Named pipes.
    pub fifos: u64,
    /// Whiteouts, opaque markers included.
    pub whiteouts: u64,
    /// Folders that were made because an entry needed them, and no entry has said since what they should be like.
    pub implicit: u64,
    /// Entries passed over: the root folder itself, and devices where they cannot be made.
    pub ignored: u64,
}

/// Something in the archive that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The entry's name, made printable.
    pub entry: String,
    /// What was left out, and why.
    pub message: String,
}

/// The warnings of one job: the first ones with their text, all of them counted.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    /// The first ones, as many as the limit allows.
    pub kept: Vec<Warning>,
    /// How many there were in all.
    pub total: u64,
}

impl ApplyReport {
    /// Notes a folder that was made because an entry needed it.
    pub(super) fn made(&mut self, inode: u64, path: Vec<u8>) {
        self.counts.implicit += 1;
        if self.implicit.len() < IMPLICIT_MAX {
            self.implicit.insert(inode, path);
        }
    }

    /// Forgets it again: now an entry says what it should be like.
    pub(super) fn listed(&mut self, inode: u64) {
        if self.implicit.remove(&inode).is_some() {
            self.counts.implicit -= 1;
        }
    }
}

impl Warnings {
    /// Counts a warning and keeps it if there are fewer than `limit`.
    pub(super) fn add(&mut self, limit: usize, path: &[u8], message: impl FnOnce() -> String) {
        self.total += 1;
        if self.kept.len() < limit {
            self.kept.push(Warning {
                entry: printable(path),
                message: message(),
            });
        }
    }
}
