//! Blobs that are kept elsewhere: the folder of the store only stages what is ingested, and has copies of what is read.
//!
//! A blob is on the remote before it has its name here, and loses its name here before it is removed there: whatever has a name in the
//! folder can be let go at any time, and is fetched again when somebody asks for it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use transom_oci::Digest;

use crate::Info;

/// All blobs of a remote, one by one, in no order.
pub type Listed = Box<dyn Iterator<Item = io::Result<Info>> + Send>;

/// Where blobs are kept. Calls may block; they come from any number of threads.
pub trait Remote: Send + Sync + fmt::Debug {
    /// What says which remote it is, for people: a store that was on another one is refused.
    fn name(&self) -> String;

    /// Size and times of a blob; `None` if it is not there.
    ///
    /// # Errors
    /// Those of the remote.
    fn info(&self, digest: &Digest) -> io::Result<Option<Info>>;

    /// All bytes of a blob.
    ///
    /// # Errors
    /// Of kind `NotFound` if it is not there; those of the remote.
    fn read(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>>;

    /// Keeps a blob of `size` bytes. When this returns, it is seen whole by everybody, and as durable as the remote can make it. One
    /// that is there already is replaced by the same bytes.
    ///
    /// # Errors
    /// Those of the remote; then there is no half of it.
    fn put(&self, digest: &Digest, size: u64, content: &mut dyn Read) -> io::Result<()>;

    /// Removes a blob; `false` if it is not there.
    ///
    /// # Errors
    /// Those of the remote.
    fn delete(&self, digest: &Digest) -> io::Result<bool>;

    /// All blobs.
    ///
    /// # Errors
    /// Those of the remote, also from the iterator.
    fn walk(&self) -> io::Result<Listed>;
}

/// A file from its start, whatever its position is.
pub(crate) struct FromStart<'f> {
    file: &'f File,
    at: u64,
}

impl<'f> FromStart<'f> {
    pub(crate) fn new(file: &'f File) -> FromStart<'f> {
        FromStart { file, at: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
