//! What can go wrong, as meanings. Status and code of each are decided in `http/errors.rs`.

use std::sync::Arc;
use std::time::Duration;

use transom_oci::{Algorithm, Digest};

use crate::access::Refusal;
use crate::names::{NameError, Reference, RepositoryName, Tag};

/// The errors of the registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of a repository, a tag or a digest breaks the rules.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The repository has nothing, or nothing that was asked for.
    #[error("the repository {0} is not known here")]
    RepositoryUnknown(RepositoryName),
    /// The repository does not have the blob.
    #[error("the repository {repository} has no blob {digest}")]
    BlobUnknown {
        /// The repository.
        repository: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// The repository does not have the manifest.
    #[error("the repository {repository} has no manifest {reference}")]
    ManifestUnknown {
        /// The repository.
        repository: RepositoryName,
        /// What was asked for.
        reference: Reference,
    },
    /// There is a manifest, of a type that the client does not take.
    #[error("{reference} is a {media_type}; add that type to the Accept header to get it")]
    NotAccepted {
        /// What was asked for.
        reference: Reference,
        /// Its type.
        media_type: String,
    },
    /// What was pushed is not a manifest that can be kept.
    #[error("the manifest cannot be kept: {0}")]
    ManifestInvalid(String),
    /// A manifest is larger than is allowed.
    #[error("a manifest may have {limit} bytes at most")]
    ManifestTooLarge {
        /// The most.
        limit: u64,
    },
    /// A manifest refers to what the repository does not have.
    #[error("the manifest refers to {} that the repository does not have; push them first", count(.0.len()))]
    ReferencesUnknown(Vec<Digest>),
    /// The bytes have another digest than was said.
    #[error("the content has the digest {found}, not {wanted}")]
    DigestMismatch {
        /// What was said.
        wanted: Digest,
        /// What it is.
        found: Digest,
    },
    /// A digest was needed and not given.
    #[error("the request needs digest=<algorithm>:<hex>, the digest of the whole content")]
    DigestMissing,
    /// No such algorithm.
    #[error("there is no digest algorithm {0:?}; use {known}", known = algorithms())]
    AlgorithmUnknown(String),
    /// The body has more or fewer bytes than its head says.
    #[error("the request announces {announced} bytes and has {found}")]
    SizeMismatch {
        /// What the head says.
        announced: u64,
        /// What came.
        found: u64,
    },
    /// There is no such upload: it has ended, or never was.
    #[error("there is no upload {0} here; begin another one")]
    UploadUnknown(String),
    /// Another request works on the upload.
    #[error("another request writes to the upload {0}; wait for its answer")]
    UploadBusy(String),
    /// A chunk does not begin where the last one ended.
    #[error("the next byte of the upload is {expected}, the chunk begins with {given}")]
    OutOfOrder {
        /// The next byte.
        expected: u64,
        /// Where the chunk begins.
        given: u64,
    },
    /// `Content-Range` is not `<first>-<last>`.
    #[error("Content-Range must be <first byte>-<last byte>, not {0:?}")]
    ChunkRangeInvalid(String),
    /// None of the ranges is in the content.
    #[error("the content has {size} bytes, and none that was asked for")]
    RangeOutside {
        /// The bytes of the content.
        size: u64,
    },
    /// `n` or `last` of a list cannot be used.
    #[error("{0}")]
    PageInvalid(String),
    /// Deleting is switched off.
    #[error("nothing can be deleted here; the operator allows it with delete = true")]
    DeleteDisabled,
    /// The registry is read-only at the moment.
    #[error("the registry is read-only at the moment")]
    ReadOnly,
    /// The repository is here to be read only.
    #[error("{repository} cannot be written to: {reason}")]
    NotWritable {
        /// The repository.
        repository: RepositoryName,
        /// Where what is in it comes from.
        reason: String,
    },
    /// A policy does not want what is pushed, or gave no answer.
    #[error("{name} is refused: {refusal}")]
    NotAdmitted {
        /// The repository with the tag or the digest.
        name: String,
        /// In the policy's words.
        refusal: transom_meta::policy::Refusal,
    },
    /// Another registry does not let this one have what was asked for.
    #[error("{host} does not let this registry have {what}; the operator can give it a login in [[proxy]]")]
    UpstreamRefuses {
        /// The other registry.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// Another registry has too much to do.
    #[error("{host} has too many requests from this registry; try again later")]
    UpstreamBusy {
        /// The other registry.
        host: String,
        /// When to ask again, if it said so.
        retry_after: Option<Duration>,
    },
    /// Another registry cannot be asked at the moment.
    #[error("{host} cannot be asked at the moment: {reason}")]
    UpstreamUnavailable {
        /// The other registry.
        host: String,
        /// What happened.
        reason: String,
    },
    /// Another registry sent what cannot be used. Nothing of it is kept.
    #[error("{host} sent what cannot be used: {reason}")]
    UpstreamWrong {
        /// The other registry.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The error of something that several have waited for.
    #[error(transparent)]
    Shared(Arc<Error>),
    /// The client may not.
    #[error("{}", reason(.0))]
    Refused(Refusal),
    /// Too much at once.
    #[error("there is too much to do at the moment; try again later")]
    TooBusy,
    /// The body of a request broke off.
    #[error("the body of the request broke off: {0}")]
    BodyBroken(String),
    /// Nothing came of the body of a request for too long.
    #[error("nothing more of the body came; the connection counts as dead")]
    BodyTooSlow,
    /// The request is not one of this interface.
    #[error("there is nothing at this path; the interface of a registry is below /v2/")]
    NoSuchPath,
    /// The method means nothing here.
    #[error("this path takes {0} only")]
    MethodUnknown(&'static str),
    /// Something else is wrong with a request.
    #[error("{0}")]
    BadRequest(String),
    /// What is kept does not make sense.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Where.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// The store could not do it.
    #[error(transparent)]
    Storage(#[from] transom_storage::Error),
}

/// What something gave.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A tag that leads nowhere.
    #[must_use]
    pub fn tag_unknown(repository: &RepositoryName, tag: &Tag) -> Error {
        Error::ManifestUnknown {
            repository: repository.clone(),
            reference: Reference::Tag(tag.clone()),
        }
    }

    /// A manifest that is not there.
    #[must_use]
    pub fn manifest_unknown(repository: &RepositoryName, digest: &Digest) -> Error {
        Error::ManifestUnknown {
            repository: repository.clone(),
            reference: Reference::Digest(digest.clone()),
        }
    }

    /// The error itself, of one that several have.
    #[must_use]
    pub fn cause(&self) -> &Error {
        match self {
            Error::Shared(error) => error.cause(),
            other => other,
        }
    }

    /// A blob that is not there.
    #[must_use]
    pub fn blob_unknown(repository: &RepositoryName, digest: &Digest) -> Error {
        Error::BlobUnknown {
            repository: repository.clone(),
            digest: digest.clone(),
        }
    }
}

/// The meaning of "nothing is there", which depends on what was looked for.
pub(crate) fn absent(missing: impl FnOnce() -> Error) -> impl FnOnce(transom_storage::Error) -> Error {
    move |error| match error {
        error if error.is_not_found() => missing(),
        transom_storage::Error::IsFolder { .. } | transom_storage::Error::NotFolder { .. } => missing(),
        error => Error::Storage(error),
    }
}

fn count(number: usize) -> String {
    match number {
        1 => "one thing".to_owned(),
        number => format!("{number} things"),
    }
}

fn algorithms() -> String {
    Algorithm::ALL.map(Algorithm::as_str).join(", ")
}

fn reason(refusal: &Refusal) -> &str {
    match refusal {
        Refusal::Unauthenticated { reason, .. }
        | Refusal::Denied { reason }
        | Refusal::Unavailable { reason } => reason,
        Refusal::TooMany { .. } => "too many requests; ask again later",
    }
}
