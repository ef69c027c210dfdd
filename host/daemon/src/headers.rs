//! What the metadata headers of a request say: the namespace, and the lease.

use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use transom_api::{LEASE_HEADER, NAMESPACE_HEADER};
use transom_meta::Namespace;

/// The namespace of a request that needs one.
///
/// # Errors
/// `FAILED_PRECONDITION` if there is none, `INVALID_ARGUMENT` if it is not an identifier.
pub fn namespace(headers: &MetadataMap) -> Result<Namespace, Status> {
    let name = text(headers, NAMESPACE_HEADER)?.unwrap_or_default();
    if name.is_empty() {
        let message = "namespace is required: failed precondition";
        return Err(Status::new(Code::FailedPrecondition, message));
    }
    Namespace::new(name)
        .map_err(|e| Status::invalid_argument(format!("namespace validation: {e}: invalid argument")))
}

/// The lease of a request that has one.
///
/// # Errors
/// `INVALID_ARGUMENT` if it is not text.
pub fn lease(headers: &MetadataMap) -> Result<Option<String>, Status> {
    let lease = text(headers, LEASE_HEADER)?;
    Ok(lease.filter(|lease| !lease.is_empty()).map(str::to_owned))
}

/// The first value of a header counts.
fn text<'m>(headers: &'m MetadataMap, name: &str) -> Result<Option<&'m str>, Status> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str();
    text.map(Some)
        .map_err(|_| Status::invalid_argument(format!("{name} is not ASCII text: invalid argument")))
}
