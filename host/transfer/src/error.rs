//! Why a transfer failed, as meanings.

use transom_layer::tar::TarError;
use transom_meta::{Class, Error};
use transom_oci::Digest;

use crate::bytes::StreamError;
use crate::unpack::UnpackError;

/// The errors of transfers. Texts are containerd's where its clients know them, without the suffix for the class.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The stream to or from the client ended or failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The archive is no tar.
    #[error("the archive cannot be read: {0}")]
    Tar(#[from] TarError),
    /// A compressed archive is damaged, or asks for too much memory.
    #[error("the archive cannot be decompressed with {compression}: {source}")]
    Decompress {
        /// Which compression it is.
        compression: &'static str,
        /// What the decoder says.
        source: std::io::Error,
    },
    /// The archive ended early: something that its index lists is missing, and there is no end of the archive.
    #[error("the archive is incomplete: it ends before {missing}; send it again")]
    Truncated {
        /// What is missing.
        missing: String,
    },
    /// It is none of the formats that can be imported.
    #[error("unrecognized image format: {reason}")]
    Format {
        /// What it lacks, or what is compressed in a way that nothing here reads.
        reason: String,
    },
    /// A document in the archive or store is not what it should be.
    #[error("{document}: {problem}")]
    Document {
        /// Its name or digest.
        document: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A blob is not what its name says.
    #[error("{name:?} in the archive has the digest {actual}: the archive is damaged")]
    WrongDigest {
        /// Its name in the archive.
        name: String,
        /// What it is.
        actual: Digest,
    },
    /// More than a limit allows.
    #[error("{what} exceed the limit of {limit}")]
    Limit {
        /// What there is too much of.
        what: String,
        /// How much is allowed.
        limit: u64,
    },
    /// Something that is needed is not there.
    #[error("{object}")]
    NotFound {
        /// What.
        object: String,
    },
    /// Something in the request is not valid.
    #[error("{what}")]
    Invalid {
        /// What, and what to do instead.
        what: String,
    },
    /// Something that cannot be done.
    #[error("{what}")]
    Unimplemented {
        /// What.
        what: String,
    },
    /// The store's blob is not what its name says.
    #[error("content {digest} is damaged: its bytes have the digest {actual}; run `transom image check`")]
    Damaged {
        /// Its name.
        digest: Digest,
        /// What it is.
        actual: Digest,
    },
    /// A file of the store cannot be read.
    #[error("cannot read content {digest}: {source}")]
    Read {
        /// Which.
        digest: Digest,
        /// Why.
        source: std::io::Error,
    },
    /// The stores.
    #[error(transparent)]
    Meta(#[from] Error),
    /// A layer could not become a snapshot.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A thread of the transfer panicked.
    #[error("internal fault: {what} panicked")]
    Panicked {
        /// Which part.
        what: &'static str,
    },
}

impl TransferError {
    /// The class of this error.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            TransferError::Stream(_) => Class::Aborted,
            TransferError::Tar(TarError::Limit { .. }) | TransferError::Limit { .. } => {
                Class::ResourceExhausted
            }
            TransferError::Tar(_)
            | TransferError::Decompress { .. }
            | TransferError::Truncated { .. }
            | TransferError::Format { .. }
            | TransferError::Document { .. }
            | TransferError::WrongDigest { .. }
            | TransferError::Invalid { .. } => Class::InvalidArgument,
            TransferError::NotFound { .. } => Class::NotFound,
            TransferError::Unimplemented { .. } => Class::Unimplemented,
            TransferError::Damaged { .. } => Class::DataLoss,
            TransferError::Meta(error) => error.class(),
            TransferError::Unpack(error) => error.class(),
            TransferError::Read { .. } | TransferError::Panicked { .. } => Class::Unknown,
        }
    }
}
