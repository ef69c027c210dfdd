//! Between messages and what the stores speak of.

use std::time::SystemTime;

use prost_types::Timestamp;
use tonic::Status;
use transom_api::types;
use transom_meta::{Caller, Class};
use transom_sys::Mount;

use crate::{headers, status};

/// On whose behalf a request is made.
///
/// # Errors
/// As [`headers::namespace`] and [`headers::lease`].
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    let mut caller = Caller::new(headers::namespace(request.metadata())?);
    caller.lease = headers::lease(request.metadata())?;
    Ok(caller)
}

/// A time as a message.
#[must_use]
pub fn timestamp(time: SystemTime) -> Option<Timestamp> {
    Some(Timestamp::from(time))
}

/// A time from a message, if there is one.
///
/// # Errors
/// `INVALID_ARGUMENT` for one that no clock shows.
pub fn time(field: &str, message: Option<Timestamp>) -> Result<Option<SystemTime>, Status> {
    let Some(message) = message else {
        return Ok(None);
    };
    let valid = (0..1_000_000_000).contains(&message.nanos);
    match SystemTime::try_from(message) {
        Ok(time) if valid => Ok(Some(time)),
        _ => Err(status::said(
            Class::InvalidArgument,
            format!("{field} is not a time"),
        )),
    }
}

/// Mounts as messages.
#[must_use]
pub fn mounts(mounts: Vec<Mount>) -> Vec<types::Mount> {
    let message = |mount: Mount| types::Mount {
        r#type: mount.kind,
        source: mount.source,
        target: mount.target,
        options: mount.options,
    };
    mounts.into_iter().map(message).collect()
}

/// The paths of a field mask; none without one.
#[must_use]
pub fn paths(mask: Option<prost_types::FieldMask>) -> Vec<String> {
    mask.unwrap_or_default().paths
}
