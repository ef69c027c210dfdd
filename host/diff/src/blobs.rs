//! Where blobs come from and go to: what a differ needs of a content store.
//!
//! The calls block. They are made on behalf of one caller, whose namespace and lease the implementation knows.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;

use bytes::Bytes;
use transom_oci::Digest;

/// Why a content store said no, in its own words; whoever implements [`Blobs`] knows the type.
pub type Fault = Box<dyn Error + Send + Sync>;

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// A content store, on behalf of one caller.
pub trait Blobs: Send + Sync {
    /// Opens a blob from its start. Nobody relies on its bytes before they are hashed.
    ///
    /// # Errors
    /// The store's own, if the caller does not have the blob or it cannot be opened.
    fn open(&self, digest: &Digest) -> Result<Opened, Fault>;

    /// Opens an ingest for a new blob and throws away what an earlier writer left in it.
    ///
    /// # Errors
    /// The store's own, for instance if somebody else writes under this reference.
    fn create(&self, reference: &str) -> Result<Box<dyn BlobWriter>, Fault>;

    /// Removes an ingest that was not committed.
    ///
    /// # Errors
    /// The store's own.
    fn abort(&self, reference: &str) -> Result<(), Fault>;

    /// Gives a blob a label, unless it has one with this key.
    ///
    /// # Errors
    /// The store's own.
    fn add_label(&self, digest: &Digest, key: &str, value: &str) -> Result<(), Fault>;
}

/// An open blob.
pub struct Opened {
    /// Its bytes.
    pub bytes: Box<dyn Read + Send>,
    /// How many there are.
    pub size: u64,
    /// Whether the reader fails at its end if the bytes are not those of the digest: then nobody else hashes them.
    pub verified: bool,
}

/// A blob in the making.
pub trait BlobWriter: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// The store's own.
    fn write(&mut self, bytes: Bytes) -> Result<(), Fault>;

    /// Makes it a blob with this size, digest and labels.
    ///
    /// # Errors
    /// The store's own.
    fn commit(self: Box<Self>, size: u64, digest: &Digest, labels: &Labels) -> Result<Committed, Fault>;

    /// Ends without a blob. What was written is kept for a later writer of the reference.
    ///
    /// # Errors
    /// The store's own.
    fn close(self: Box<Self>) -> Result<(), Fault>;
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// There is a new blob.
    New,
    /// The caller had this blob already, whose labels are as they were.
    There,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
