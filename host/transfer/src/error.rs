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
    /// A registry.
    #[error(transparent)]
    Registry(#[from] Box<transom_client::Error>),
    /// What a name stands for cannot be found out.
    #[error("failed to resolve image: {source}")]
    Resolve {
        /// Why.
        source: Box<transom_client::Error>,
    },
    /// A verifier does not want the image.
    #[error("image verifier {verifier} blocked pull of {name} with digest {digest} for reason: {reason}")]
    Refused {
        /// The verifier.
        verifier: String,
        /// The image.
        name: String,
        /// What the name stands for.
        digest: Digest,
        /// In the verifier's words.
        reason: String,
    },
    /// A verifier has come to no judgement.
    #[error(
        "blocking pull of {name} with digest {digest}: image verifier {verifier} returned error: {reason}"
    )]
    Verifier {
        /// The verifier.
        verifier: String,
        /// The image.
        name: String,
        /// What the name stands for.
        digest: Digest,
        /// What went wrong.
        reason: String,
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
            TransferError::Registry(error) | TransferError::Resolve { source: error } => of_registry(error),
            TransferError::Refused { .. } => Class::PermissionDenied,
            TransferError::Verifier { .. } => Class::FailedPrecondition,
            TransferError::Meta(error) => error.class(),
            TransferError::Unpack(error) => error.class(),
            TransferError::Read { .. } | TransferError::Panicked { .. } => Class::Unknown,
        }
    }
}

/// The class of an error of a registry's client.
fn of_registry(error: &transom_client::Error) -> Class {
    use transom_client::Error as Client;
    match error.cause() {
        Client::Reference { .. } | Client::Setup { .. } => Class::InvalidArgument,
        Client::File { .. } | Client::NoHost { .. } => Class::FailedPrecondition,
        Client::Unauthorized { .. } | Client::Denied { .. } | Client::Helper { .. } => {
            Class::PermissionDenied
        }
        Client::NotFound { .. } => Class::NotFound,
        Client::Unsupported { .. } => Class::Unimplemented,
        Client::Busy { .. } | Client::Unreachable { .. } | Client::Tls { .. } | Client::Stalled { .. } => {
            Class::Unavailable
        }
        Client::TooLarge { .. } => Class::ResourceExhausted,
        Client::WrongDigest { .. } | Client::WrongSize { .. } => Class::DataLoss,
        Client::Store { source, .. } => source.downcast_ref().map_or(Class::Unknown, Error::class),
        _ => Class::Unknown,
    }
}
