//! A small ingest that has no folder yet.
//!
//! A store that has its folder to itself ([`Store::open_alone`](crate::Store::open_alone)) keeps the first bytes of an ingest in
//! memory. If a commit comes before they are many, the blob is made at once, where it belongs: the folder with its small files, which
//! are for those who come later, was never needed. A longer ingest, and one that is closed, goes to its folder. What a crash of
//! the process takes is a few kilobytes that nobody was told are kept.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use transom_oci::Digest;

use crate::inner::{Inner, is_absent};
use crate::limits;
use crate::steps::Steps;
use crate::writer::write_all;
use crate::{IngestOptions, Step};

/// The bytes of an ingest in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    bytes: Vec<u8>,
}

/// What others may know of an ingest in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) offset: u64,
    pub(crate) total: Option<u64>,
    pub(crate) started: SystemTime,
}

/// What became of a commit from memory.
pub(crate) enum Placed {
    /// The bytes have the blob's name.
    New(File),
    /// Something has it already.
    Taken,
    /// This file system cannot do it: take the way through a folder.
    Unsupported,
}

impl Memory {
    /// Whether an ingest can begin in memory: nobody else looks for its folder, there is none, and it is not known to be long.
    pub(crate) fn suits(inner: &Inner, reference: &str, options: &IngestOptions) -> bool {
        inner.alone
            && options
                .total
                .is_none_or(|total| total <= limits::MEMORY_BYTES as u64)
            && matches!(std::fs::symlink_metadata(inner.ingest_path(reference)), Err(e) if is_absent(&e))
    }

    /// Takes bytes, if it is still a small ingest with them.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = self.has_room(bytes.len());
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.bytes.len() + length <= limits::MEMORY_BYTES
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes the bytes a file of the folder `blobs`, in which a power cut leaves all of them or no name. The name itself is on the
    /// disk after a sync of the folder.
    pub(crate) fn place(&self, steps: &Steps, blobs: &Path, digest: &Digest) -> io::Result<Placed> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        // As a sealed blob: read only.
        let Ok(file) = open(blobs, flags, Mode::from_raw_mode(0o444)) else {
            return Ok(Placed::Unsupported);
        };
        let file = File::from(file);
        write_all(&file, &self.bytes, 0).1?;
        steps.reached(Step::DataWritten);
        file.sync_all()?;
        steps.reached(Step::DataSynced);
        steps.reached(Step::Checked);
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        match linkat(
            CWD,
            &nameless,
            CWD,
            blobs.join(digest.hex()),
            AtFlags::SYMLINK_FOLLOW,
        ) {
            Ok(()) => Ok(Placed::New(file)),
            Err(rustix::io::Errno::EXIST) => Ok(Placed::Taken),
            Err(_) => Ok(Placed::Unsupported),
        }
    }
}
