//! Why an image could not be unpacked.

use transom_meta::{Class, Error};
use transom_oci::Digest;

use crate::error::TransferError;
use crate::unpack::ApplyError;

/// The errors of unpacking.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// There is no such snapshotter.
    #[error("snapshotter not loaded: {snapshotter}")]
    NotLoaded {
        /// Its name.
        snapshotter: String,
    },
    /// The configuration cannot be used.
    #[error("image configuration {config}: {problem}")]
    Config {
        /// Its digest.
        config: Digest,
        /// What is wrong with it.
        problem: String,
    },
    /// A document of the image cannot be read.
    #[error(transparent)]
    Document(#[from] Box<TransferError>),
    /// A layer is not there.
    #[error("layer {digest} is not there to be unpacked")]
    MissingLayer {
        /// Its digest.
        digest: Digest,
    },
    /// A snapshotter failed.
    #[error("failed to {what} snapshot {key:?}: {source}")]
    Snapshot {
        /// What was tried: `prepare`, `commit`.
        what: &'static str,
        /// On which.
        key: String,
        /// Why not.
        source: Box<Error>,
    },
    /// A layer could not be applied.
    #[error("failed to extract layer {layer} to {snapshotter} as {key:?}: {source}")]
    Apply {
        /// The layer.
        layer: Digest,
        /// The snapshotter.
        snapshotter: String,
        /// The snapshot.
        key: String,
        /// Why not.
        source: ApplyError,
    },
    /// A layer that is unpacked already may not be used.
    #[error(
        "image {image}: layer {layer} ({media_type}) is unpacked already, but may not be used without what reads it: {source}"
    )]
    Refused {
        /// The image, by its name or its manifest.
        image: String,
        /// The layer.
        layer: Digest,
        /// Its media type.
        media_type: String,
        /// Which processor, and why.
        source: ApplyError,
    },
    /// A layer is not what the configuration says.
    #[error(
        "wrong diff id {actual} calculated on extraction of layer {layer}, the configuration says {expected}"
    )]
    DiffId {
        /// The layer.
        layer: Digest,
        /// What the configuration says.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// The stores.
    #[error(transparent)]
    Meta(#[from] Box<Error>),
    /// It was stopped.
    #[error("the unpacking was stopped")]
    Stopped,
    /// A task panicked: a fault of this program.
    #[error("internal fault: an unpacking task panicked")]
    Panicked,
}

impl UnpackError {
    /// The class of this error.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            UnpackError::NotLoaded { .. } | UnpackError::Config { .. } => Class::InvalidArgument,
            UnpackError::Document(error) => error.class(),
            UnpackError::MissingLayer { .. } => Class::NotFound,
            UnpackError::Snapshot { source, .. } => source.class(),
            UnpackError::Apply { source, .. } | UnpackError::Refused { source, .. } => source.class,
            UnpackError::DiffId { .. } => Class::InvalidArgument,
            UnpackError::Meta(error) => error.class(),
            UnpackError::Stopped => Class::Aborted,
            UnpackError::Panicked => Class::Unknown,
        }
    }
}
