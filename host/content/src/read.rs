//! Blobs open for reading, and readers that hash what they pass on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use transom_oci::{Digest, Hasher};

use crate::Error;

/// An open blob: a file that nobody changes. Reading past its end gives no bytes.
#[derive(Debug)]
pub struct Blob {
    file: File,
    digest: Digest,
    size: u64,
}

impl Blob {
    pub(crate) fn new(file: File, digest: Digest, size: u64) -> Blob {
        Blob { file, digest, size }
    }

    /// The blob's name.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its length in bytes when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads at an offset, without moving the position of [`Read`]; from any number of threads.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// The open file, positioned where this blob is.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    /// Hashes what is read from here on; use it on a blob that nothing was read from.
    #[must_use]
    pub fn verifying(self) -> VerifyingReader<Blob> {
        let digest = self.digest.clone();
        VerifyingReader::new(self, digest)
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Blob {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// The bytes that an ingest has so far, to be read along while more are written. They are nobody's blob yet: whoever reads them
/// must not rely on them before they are committed, and a truncated ingest gives fewer bytes than it had, or others.
#[derive(Debug)]
pub struct Partial {
    file: File,
}

impl Partial {
    pub(crate) fn new(file: File) -> Partial {
        Partial { file }
    }

    /// Reads at an offset; from any number of threads.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

/// Hashes what passes through, and fails at the end if it is not what it should be.
///
/// The error is an [`io::Error`] of kind `InvalidData` around [`Error::Corrupt`] or [`Error::WrongLength`]. Bytes come
/// out before the end is known: do nothing final with them before a read has given 0.
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    expected: Digest,
    size: Option<u64>,
    hasher: Hasher,
    seen: u64,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Good,
    Bad,
}

impl<R: Read> VerifyingReader<R> {
    /// Checks that all of `inner` has this digest.
    #[must_use]
    pub fn new(inner: R, expected: Digest) -> VerifyingReader<R> {
        let hasher = Hasher::new(expected.algorithm());
        VerifyingReader {
            inner,
            expected,
            size: None,
            hasher,
            seen: 0,
            end: End::NotYet,
        }
    }

    /// Checks the length too, and fails as soon as there are more bytes than that.
    #[must_use]
    pub fn with_size(mut self, size: u64) -> VerifyingReader<R> {
        self.size = Some(size);
        self
    }

    /// Whether all was read and found right.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.end == End::Good
    }

    /// Bytes that have passed.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What is wrong, now that `seen` bytes have passed, and they are all if `ended`.
    fn judge(&self, ended: bool) -> Result<(), Error> {
        let wrong_length = |expected| Error::WrongLength {
            digest: self.expected.clone(),
            actual: self.seen.min(expected + 1),
            expected,
        };
        match self.size {
            Some(size) if self.seen > size => return Err(wrong_length(size)),
            Some(size) if ended && self.seen < size => return Err(wrong_length(size)),
            _ if !ended => return Ok(()),
            _ => {}
        }
        let actual = self.hasher.clone().finish();
        if actual == self.expected {
            return Ok(());
        }
        Err(Error::Corrupt {
            digest: self.expected.clone(),
            actual,
            size: self.seen,
        })
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.end == End::Good {
            return Ok(0);
        }
        let read = if self.end == End::NotYet {
            self.inner.read(buffer)?
        } else {
            0
        };
        self.hasher.update(&buffer[..read]);
        self.seen += read as u64;
        let judged = self.judge(read == 0);
        self.end = match (&judged, read) {
            (Err(_), _) => End::Bad,
            (Ok(()), 0) => End::Good,
            (Ok(()), _) => End::NotYet,
        };
        judged?;
        Ok(read)
    }
}
