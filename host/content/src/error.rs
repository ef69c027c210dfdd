//! What can go wrong, as meanings.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;
use transom_oci::Digest;

use crate::timestamp;

/// The errors of the content store.
///
/// The texts are containerd's where it has one, without the suffix that its RPC layer appends for the error class
/// (`: failed precondition`, `: unavailable`): the adapter that picks the gRPC code appends it. `not found` and `already
/// exists` are part of the text itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No blob with this digest.
    #[error("content {digest}: not found")]
    NotFound {
        /// The digest that was asked for.
        digest: Digest,
    },
    /// No ingest under this ref.
    #[error("reference {reference}: not found")]
    RefNotFound {
        /// The ref that was asked for.
        reference: String,
    },
    /// The blob is there already; after a commit the ingest is gone.
    #[error("content {digest}: already exists")]
    AlreadyExists {
        /// The digest of the blob.
        digest: Digest,
    },
    /// Another writer has the ref open. Try again later, or abort the ref. (gRPC: unavailable)
    #[error("ref {reference} locked{}", held(*since))]
    Locked {
        /// The ref that was asked for.
        reference: String,
        /// When the other writer opened it; `None` if it belongs to another process or another [`Store`](crate::Store).
        since: Option<SystemTime>,
    },
    /// A write at an offset that is not the current one.
    #[error("write @{offset} must occur at current offset {current}")]
    OutOfRange {
        /// Where the write was asked for.
        offset: u64,
        /// Where the ingest stands.
        current: u64,
    },
    /// The ingest does not have the size that was expected; its data is kept. (gRPC: failed precondition)
    #[error("{reference:?} failed size validation: {actual} != {expected}")]
    SizeMismatch {
        /// The ref of the ingest.
        reference: String,
        /// Bytes in the ingest.
        actual: u64,
        /// Bytes that were expected.
        expected: u64,
    },
    /// The ingest does not have the digest that was expected; its data is kept. (gRPC: failed precondition)
    #[error("unexpected commit digest {actual}, expected {expected}")]
    DigestMismatch {
        /// The digest of the ingest's bytes.
        actual: Digest,
        /// The digest that was expected.
        expected: Digest,
    },
    /// The ref was aborted while this writer had it open; its data is gone. Open the ref again to start over.
    #[error("ref {reference} was aborted while it was being written; open it again to start over")]
    Aborted {
        /// The ref of the ingest.
        reference: String,
    },
    /// The writer was used after its commit or close.
    #[error("writer of ref {reference} is closed; open the ref again")]
    Closed {
        /// The ref of the ingest.
        reference: String,
    },
    /// Only truncation to 0 is supported, as in containerd: anything else would need the digest of a prefix.
    #[error("cannot truncate to {size} bytes: only 0 is supported")]
    BadTruncate {
        /// The size that was asked for.
        size: u64,
    },
    /// The ref is empty, or longer than [`REF_BYTES`](crate::limits::REF_BYTES).
    #[error(
        "ref of {length} bytes is not usable: give one of 1 to {} bytes",
        crate::limits::REF_BYTES
    )]
    BadRef {
        /// Bytes in the ref.
        length: usize,
    },
    /// The blobs of this folder are kept elsewhere.
    #[error(
        "{}: the blobs are kept by a storage driver ({has}); only a daemon with that [content.driver] in its configuration can open them",
        root.display()
    )]
    OnRemote {
        /// The store's folder.
        root: PathBuf,
        /// Who has the blobs.
        has: String,
    },
    /// The blobs of this folder are kept by another remote than the one that is given.
    #[error(
        "{}: the blobs are kept by {has}, not by {wanted}; give that one again, or copy the blobs and remove {}",
        root.display(), root.join("remote").display()
    )]
    OtherRemote {
        /// The store's folder.
        root: PathBuf,
        /// Who has the blobs.
        has: String,
        /// Who was given.
        wanted: String,
    },
    /// A blob's bytes do not have the digest that names it.
    #[error(
        "content {digest} is damaged: its {size} bytes have digest {actual}; delete it and fetch it again"
    )]
    Corrupt {
        /// The digest that names the blob.
        digest: Digest,
        /// The digest of its bytes.
        actual: Digest,
        /// How many bytes were read.
        size: u64,
    },
    /// A blob is shorter or longer than its descriptor says.
    #[error("content {digest} has {actual} bytes, expected {expected}; delete it and fetch it again")]
    WrongLength {
        /// The digest that names the blob.
        digest: Digest,
        /// How many bytes were read; one more than `expected` if there are too many.
        actual: u64,
        /// How many there should be.
        expected: u64,
    },
    /// The disk or the quota is full. What was written so far is kept: make room and resume.
    #[error("no space left while trying to {doing} {}; make room and try again", path.display())]
    NoSpace {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The operating system refused something.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl Error {
    /// An operating system's error with what was being done, told apart by its meaning.
    pub(crate) fn io(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Error {
        let (path, source) = (path.to_path_buf(), source.into());
        let full = [Errno::NOSPC, Errno::DQUOT].map(|errno| Some(errno.raw_os_error()));
        if full.contains(&source.raw_os_error()) {
            Error::NoSpace { doing, path, source }
        } else {
            Error::Io { doing, path, source }
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::NotFound { .. } | Error::RefNotFound { .. } => io::ErrorKind::NotFound,
            Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
            Error::Locked { .. } => io::ErrorKind::ResourceBusy,
            Error::Corrupt { .. } | Error::WrongLength { .. } => io::ErrorKind::InvalidData,
            Error::OutOfRange { .. } | Error::BadTruncate { .. } | Error::BadRef { .. } => {
                io::ErrorKind::InvalidInput
            }
            Error::NoSpace { .. } => io::ErrorKind::StorageFull,
            Error::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

fn held(since: Option<SystemTime>) -> String {
    match since {
        Some(since) => {
            format!(
                " for {:?} (since {})",
                since.elapsed().unwrap_or_default(),
                timestamp::format(since)
            )
        }
        None => " by another process".to_owned(),
    }
}
