//! What can go wrong, as meanings.

use std::fmt;

use crate::kv::KvError;
use crate::limits::{LABEL_BYTES, NAMESPACE_BYTES};

/// The errors of metadata.
///
/// The texts are containerd's, without the suffix for the error class (`: not found`), which the adapter that picks the
/// gRPC code appends where the text does not end with it; see [`Class`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not an identifier.
    #[error("{reason}", reason = identifier(name, *reason))]
    Identifier {
        /// What was given.
        name: String,
        /// Which rule it breaks.
        reason: IdentifierFault,
    },
    /// A label is too long.
    #[error(
        "{field}: label key and value length ({bytes} bytes) greater than maximum size ({LABEL_BYTES} bytes), key: {key}"
    )]
    Label {
        /// Which labels: `info.Labels`.
        field: &'static str,
        /// The start of the key.
        key: String,
        /// Key and value together.
        bytes: usize,
    },
    /// Something in the request is not valid; the text says what.
    #[error("{what}")]
    Invalid {
        /// What, with the value that was given.
        what: String,
    },
    /// A field that cannot be updated.
    #[error("cannot update {field:?} field on {object}")]
    Immutable {
        /// The path of the field mask.
        field: String,
        /// Kind and name, such as `image "a"`.
        object: String,
    },
    /// The object does not exist.
    #[error("{object}")]
    NotFound {
        /// Kind and name, such as `image "a"` or `content digest sha256:…`.
        object: String,
    },
    /// The object exists.
    #[error("{object}")]
    AlreadyExists {
        /// Kind and name.
        object: String,
    },
    /// The object is not in a state that allows this.
    #[error("{what}")]
    FailedPrecondition {
        /// Which state.
        what: String,
    },
    /// Something that exists elsewhere but not here.
    #[error("{what}")]
    Unimplemented {
        /// What.
        what: String,
    },
    /// A filter cannot be read, or a filter plugin refused or failed.
    #[error("{0}")]
    Filter(#[from] crate::filter::FilterError),
    /// A policy does not want the image, or gave no answer.
    #[error("{object} is refused: {refusal}")]
    Refused {
        /// Kind and name.
        object: String,
        /// In the policy's words.
        refusal: crate::policy::Refusal,
    },
    /// A filter of a subscription cannot be used.
    #[error("failed parsing subscription filters: {error}")]
    Subscribe {
        /// Why.
        error: crate::filter::FilterError,
    },
    /// A subscriber read too slowly.
    #[error("more than {} MiB of events wait to be read; read faster, or with filters that let less through", limit >> 20)]
    Lagged {
        /// How many bytes of events may wait.
        limit: usize,
    },
    /// The blobs' store.
    #[error(transparent)]
    Content(#[from] transom_content::Error),
    /// A snapshotter.
    #[error(transparent)]
    Snapshot(#[from] crate::snapshots::SnapshotError),
    /// A snapshotter answered something that it must not.
    #[error("unexpected error from snapshotter: {what}")]
    Snapshotter {
        /// What it answered.
        what: String,
    },
    /// The key-value store.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A record that this version cannot read.
    #[error("the record {key} cannot be read: {reason}; run `transom fsck`")]
    Record {
        /// The key, printable.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Other requests changed the same objects again and again.
    #[error("{object} is changed by too many requests at once; try again")]
    Contended {
        /// What was to be changed.
        object: String,
    },
    /// Collecting garbage failed. The text is the one containerd's clients know.
    #[error("gc failed: {reason}")]
    Collect {
        /// Why.
        reason: String,
    },
}

/// Which rule of identifiers is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifierFault {
    /// It is empty.
    Empty,
    /// It has more than 76 bytes.
    Long,
    /// A character where it may not be.
    Form,
}

fn identifier(name: &str, fault: IdentifierFault) -> String {
    match fault {
        IdentifierFault::Empty => "identifier must not be empty".to_owned(),
        IdentifierFault::Long => {
            format!("identifier {name:?} greater than maximum length ({NAMESPACE_BYTES} characters)")
        }
        IdentifierFault::Form => {
            format!("identifier {name:?} must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$")
        }
    }
}

/// The class of an error: what a client can do about it. Each is one gRPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request is wrong and stays wrong.
    InvalidArgument,
    /// The object is not there.
    NotFound,
    /// The object is there.
    AlreadyExists,
    /// The object's state does not allow it.
    FailedPrecondition,
    /// An offset that is not there.
    OutOfRange,
    /// Whoever asks may not have it.
    PermissionDenied,
    /// Stopped by another request; start over.
    Aborted,
    /// Not done here.
    Unimplemented,
    /// A limit or a full disk.
    ResourceExhausted,
    /// Busy; try again.
    Unavailable,
    /// Damaged data.
    DataLoss,
    /// Anything else.
    Unknown,
}

impl fmt::Display for Class {
    /// The suffix that containerd's clients know the class by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::InvalidArgument => "invalid argument",
            Class::NotFound => "not found",
            Class::AlreadyExists => "already exists",
            Class::FailedPrecondition => "failed precondition",
            Class::OutOfRange => "out of range",
            Class::PermissionDenied => "permission denied",
            Class::Aborted => "aborted",
            Class::Unimplemented => "not implemented",
            Class::ResourceExhausted => "resource exhausted",
            Class::Unavailable => "unavailable",
            Class::DataLoss => "data loss",
            Class::Unknown => "unknown",
        })
    }
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Error::Identifier { .. }
            | Error::Label { .. }
            | Error::Invalid { .. }
            | Error::Immutable { .. } => Class::InvalidArgument,
            Error::NotFound { .. } => Class::NotFound,
            Error::AlreadyExists { .. } => Class::AlreadyExists,
            Error::FailedPrecondition { .. } => Class::FailedPrecondition,
            Error::Unimplemented { .. } => Class::Unimplemented,
            Error::Filter(error) | Error::Subscribe { error } => error.class(),
            Error::Refused { .. } => Class::PermissionDenied,
            Error::Content(error) => content_class(error),
            Error::Snapshot(error) => error.class(),
            Error::Kv(KvError::NoSpace) => Class::ResourceExhausted,
            Error::Kv(KvError::Damaged { .. }) | Error::Record { .. } => Class::DataLoss,
            Error::Kv(KvError::Stopped { .. } | KvError::InUse { .. }) | Error::Contended { .. } => {
                Class::Unavailable
            }
            Error::Lagged { .. } => Class::ResourceExhausted,
            Error::Kv(_) | Error::Collect { .. } | Error::Snapshotter { .. } => Class::Unknown,
        }
    }
}

fn content_class(error: &transom_content::Error) -> Class {
    use transom_content::Error as E;
    match error {
        E::NotFound { .. } | E::RefNotFound { .. } => Class::NotFound,
        E::AlreadyExists { .. } => Class::AlreadyExists,
        E::Locked { .. } => Class::Unavailable,
        E::OutOfRange { .. } => Class::OutOfRange,
        E::SizeMismatch { .. } | E::DigestMismatch { .. } | E::Closed { .. } => Class::FailedPrecondition,
        E::Aborted { .. } => Class::Aborted,
        E::BadRef { .. } | E::BadTruncate { .. } => Class::InvalidArgument,
        E::NoSpace { .. } => Class::ResourceExhausted,
        _ => Class::Unknown,
    }
}
