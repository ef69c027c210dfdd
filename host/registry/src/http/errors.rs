//! Which status and which code an error has, and how it is written: the one place for it.

use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use crate::Error;
use crate::access::Refusal;
use crate::names::NameError;

/// The seconds after which something that did not work may work, if nobody says how long it takes.
const PATIENCE: u64 = 5;

/// The status of an error and its code in the body.
pub(crate) fn meaning(error: &Error) -> (StatusCode, &'static str) {
    use StatusCode as Status;
    match error.cause() {
        Error::Name(NameError::Repository(_)) => (Status::BAD_REQUEST, "NAME_INVALID"),
        Error::Name(NameError::Tag(_)) => (Status::BAD_REQUEST, "TAG_INVALID"),
        Error::Name(NameError::Digest { .. })
        | Error::DigestMismatch { .. }
        | Error::DigestMissing
        | Error::AlgorithmUnknown(_) => (Status::BAD_REQUEST, "DIGEST_INVALID"),
        Error::RepositoryUnknown(_) => (Status::NOT_FOUND, "NAME_UNKNOWN"),
        Error::BlobUnknown { .. } => (Status::NOT_FOUND, "BLOB_UNKNOWN"),
        Error::ManifestUnknown { .. } | Error::NotAccepted { .. } => (Status::NOT_FOUND, "MANIFEST_UNKNOWN"),
        Error::ManifestInvalid(_) => (Status::BAD_REQUEST, "MANIFEST_INVALID"),
        Error::ManifestTooLarge { .. } => (Status::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
        Error::ReferencesUnknown(_) => (Status::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"),
        Error::SizeMismatch { .. } => (Status::BAD_REQUEST, "SIZE_INVALID"),
        Error::UploadUnknown(_) => (Status::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        Error::UploadBusy(_) => (Status::CONFLICT, "BLOB_UPLOAD_INVALID"),
        Error::OutOfOrder { .. } => (Status::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
        Error::ChunkRangeInvalid(_) => (Status::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
        Error::RangeOutside { .. } => (Status::RANGE_NOT_SATISFIABLE, "RANGE_INVALID"),
        Error::PageInvalid(_) => (Status::BAD_REQUEST, "PAGINATION_NUMBER_INVALID"),
        Error::DeleteDisabled | Error::ReadOnly | Error::MethodUnknown(_) | Error::NotWritable { .. } => {
            (Status::METHOD_NOT_ALLOWED, "UNSUPPORTED")
        }
        // Not 401: the client's own login is not what is missing.
        Error::UpstreamRefuses { .. } | Error::NotAdmitted { .. } => (Status::FORBIDDEN, "DENIED"),
        Error::UpstreamBusy { .. } => (Status::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        Error::UpstreamUnavailable { .. } => (Status::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        Error::UpstreamWrong { .. } => (Status::BAD_GATEWAY, "UNAVAILABLE"),
        Error::Refused(refusal) => refused(refusal),
        Error::TooBusy => (Status::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        Error::BodyBroken(_) => (Status::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
        Error::BodyTooSlow => (Status::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID"),
        Error::NoSuchPath => (Status::NOT_FOUND, "UNSUPPORTED"),
        Error::BadRequest(_) => (Status::BAD_REQUEST, "UNSUPPORTED"),
        Error::Damaged { .. } => (Status::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        Error::Storage(error) => storage(error),
        // `cause` looks into all of them.
        Error::Shared(_) => (Status::INTERNAL_SERVER_ERROR, "UNKNOWN"),
    }
}

fn refused(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
        Refusal::Denied { .. } => (StatusCode::FORBIDDEN, "DENIED"),
        Refusal::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        Refusal::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    }
}

fn storage(error: &transom_storage::Error) -> (StatusCode, &'static str) {
    match error {
        // Names are checked before; what is left are parts that are too long for a file system.
        transom_storage::Error::InvalidPath { .. } => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
        transom_storage::Error::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        transom_storage::Error::NoSpace { .. } => (StatusCode::INSUFFICIENT_STORAGE, "UNAVAILABLE"),
        transom_storage::Error::Busy { .. } => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
    }
}

/// The answer that tells an error.
pub(crate) fn answer(error: &Error) -> Response<Body> {
    let error = error.cause();
    let (status, code) = meaning(error);
    let message = error.to_string();
    let errors: Vec<Value> = match error {
        Error::ReferencesUnknown(digests) => digests
            .iter()
            .map(|digest| json!({ "code": code, "message": message, "detail": { "digest": digest } }))
            .collect(),
        _ => vec![json!({ "code": code, "message": message, "detail": detail(error) })],
    };
    let text = json!({ "errors": errors }).to_string();
    let mut response = Response::new(Body::bytes(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some((name, value)) = header(error)
        && let Ok(value) = value.parse()
    {
        headers.insert(name, value);
    }
    response
}

/// What a program can read of an error besides its code.
fn detail(error: &Error) -> Value {
    match error {
        Error::BlobUnknown { repository, digest } => {
            json!({ "name": repository.as_str(), "digest": digest })
        }
        Error::ManifestUnknown {
            repository,
            reference,
        } => json!({ "name": repository.as_str(), "reference": reference.to_string() }),
        Error::RepositoryUnknown(repository) => json!({ "name": repository.as_str() }),
        Error::DigestMismatch { wanted, found } => json!({ "wanted": wanted, "found": found }),
        Error::OutOfOrder { expected, given } => json!({ "expected": expected, "given": given }),
        _ => Value::Null,
    }
}

/// The header that goes with some errors.
fn header(error: &Error) -> Option<(HeaderName, String)> {
    Some(match error {
        Error::Refused(Refusal::Unauthenticated { challenge, .. }) => (WWW_AUTHENTICATE, challenge.clone()),
        Error::Refused(Refusal::TooMany { retry_after }) => (RETRY_AFTER, retry_after.to_string()),
        Error::Storage(transom_storage::Error::Unavailable { retry_after, .. }) => {
            let seconds = retry_after.map_or(PATIENCE, |time| time.as_secs().max(1));
            (RETRY_AFTER, seconds.to_string())
        }
        Error::UpstreamBusy { retry_after, .. } => {
            let seconds = retry_after.map_or(PATIENCE, |time| time.as_secs().max(1));
            (RETRY_AFTER, seconds.to_string())
        }
        Error::TooBusy | Error::UpstreamUnavailable { .. } | Error::Refused(Refusal::Unavailable { .. }) => {
            (RETRY_AFTER, PATIENCE.to_string())
        }
        Error::RangeOutside { size } => (CONTENT_RANGE, format!("bytes */{size}")),
        Error::MethodUnknown(methods) => (ALLOW, (*methods).to_owned()),
        Error::DeleteDisabled | Error::ReadOnly | Error::NotWritable { .. } => {
            (ALLOW, "GET, HEAD".to_owned())
        }
        _ => return None,
    })
}
