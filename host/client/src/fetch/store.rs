//! What a content store has to do for a fetch. The daemon's store has namespaces and leases; it stands behind this trait too.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use transom_oci::{Descriptor, Digest};

/// Something to wait for.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A content store.
pub trait Store: Send + Sync + fmt::Debug {
    /// Tells this store from others, such as by its folder and namespace: a blob is fetched once for each.
    fn identity(&self) -> String;

    /// Opens an ingest of a blob under a ref; what an earlier one left is taken up again.
    fn open<'a>(&'a self, reference: &'a str, descriptor: &'a Descriptor) -> Pending<'a, Opening>;
}

/// What opening an ingest came to.
pub enum Opening {
    /// The blob is there.
    Present,
    /// Somebody else has the ref open.
    Busy {
        /// How far they are.
        offset: u64,
    },
    /// Write from its offset on.
    Ready(Box<dyn Ingest>),
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Opening::Present => f.write_str("Present"),
            Opening::Busy { offset } => write!(f, "Busy({offset})"),
            Opening::Ready(ingest) => write!(f, "Ready({})", ingest.offset()),
        }
    }
}

/// An open ingest. Dropping it keeps what is written; what is only gathered may be lost.
pub trait Ingest: Send {
    /// Bytes that are there, gathered ones included.
    fn offset(&self) -> u64;

    /// Appends bytes. An error may be of an earlier write.
    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()>;

    /// Throws away what is there.
    fn truncate(&mut self) -> Pending<'_, ()>;

    /// Makes it the blob, durably, if it has the descriptor's size and digest; a blob that came to be there meanwhile is as
    /// good. With [`StoreError::Wrong`] the ingest stays open.
    fn commit<'a>(&'a mut self, descriptor: &'a Descriptor) -> Pending<'a, ()>;

    /// Keeps what is there for a later ingest of the same ref.
    fn close(&mut self) -> Pending<'_, ()>;
}

/// What a store can say.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bytes are not those of the descriptor.
    #[error("the bytes have digest {actual}")]
    Wrong {
        /// The digest that they have.
        actual: Digest,
    },
    /// Anything else.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}
