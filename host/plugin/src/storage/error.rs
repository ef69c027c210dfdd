//! What goes wrong: in the plugin, in words of [`transom_storage::Error`], and the other way round.

use std::time::Duration;

use transom_oci::Digest;
use transom_storage::error::DriverName;
use transom_storage::{Error, StoragePath};

use super::pool::Core;
use crate::error::Fault;
use crate::limits::DRIVER_TEXT_MAX;
use crate::wit::storage_v0_1::types;

/// Why a plugin failed as a storage driver: it crashed, met a limit or broke a rule. The call is lost, and the next one gets
/// a fresh instance. It is the source of [`Error::Other`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin {name} {version} ({digest}): {fault}")]
pub struct DriverError {
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The digest of the component.
    pub digest: Digest,
    /// What happened.
    #[source]
    pub fault: Fault,
}

impl DriverError {
    /// The plugin's failure behind an error of a driver, if there is one.
    pub fn of(error: &Error) -> Option<&DriverError> {
        match error {
            Error::Other { source, .. } => source.downcast_ref(),
            _ => None,
        }
    }
}

/// Why a driver cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A power that the plugin asks for is not granted.
    #[error("the plugin asks for {asked:?}, which was not granted; add to the driver's table: {line}")]
    NotGranted {
        /// The capability.
        asked: String,
        /// The line that grants it.
        line: String,
    },
    /// A value of the configuration cannot be used.
    #[error("{key}: {message}")]
    Config {
        /// The key.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// The plugin failed.
    #[error(transparent)]
    Failed(Box<DriverError>),
}

/// What was asked of a guest, for errors.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) doing: &'static str,
    pub(super) path: StoragePath,
    /// The offset of a read, for what is beyond the end.
    pub(super) offset: u64,
}

impl Asked {
    pub(super) fn new(doing: &'static str, path: &StoragePath) -> Asked {
        Asked {
            doing,
            path: path.clone(),
            offset: 0,
        }
    }
}

impl Core {
    /// A failure of the plugin.
    pub(super) fn failed(&self, fault: Fault) -> DriverError {
        let plugin = &self.plugin;
        DriverError {
            name: plugin.name.clone(),
            version: plugin.version.clone(),
            digest: plugin.digest.clone(),
            fault,
        }
    }

    /// A failure of the plugin in a call.
    pub(super) fn fault(&self, asked: &Asked, fault: Fault) -> Error {
        let error = self.failed(fault);
        tracing::warn!(plugin = error.name, version = error.version, digest = %error.digest, path = %asked.path,
            fault = %error.fault, "a storage driver failed");
        Error::Other {
            driver: self.name(),
            doing: asked.doing,
            path: asked.path.clone(),
            source: error.into(),
        }
    }

    /// An answer that breaks a rule.
    pub(super) fn broke(&self, asked: &Asked, rule: impl Into<String>) -> Error {
        self.fault(asked, Fault::Protocol(rule.into()))
    }

    /// An error that the plugin returned.
    pub(super) fn told(&self, asked: &Asked, error: types::Error) -> Error {
        let (driver, path) = (self.name(), asked.path.clone());
        let text = |text: String| {
            self.grants
                .redact(&text[..text.floor_char_boundary(DRIVER_TEXT_MAX)])
        };
        match error {
            types::Error::NotFound => Error::NotFound { driver, path },
            types::Error::InvalidPath(reason) => Error::invalid_path(path.as_str(), text(reason)),
            types::Error::InvalidOffset(size) => Error::InvalidOffset {
                driver,
                path,
                offset: asked.offset,
                size,
            },
            types::Error::IsFolder => Error::IsFolder { driver, path },
            types::Error::NotFolder => Error::NotFolder { driver, path },
            types::Error::Unsupported(what) => Error::Unsupported {
                driver,
                what: text(what).into(),
            },
            types::Error::AlreadyExists => Error::AlreadyExists { driver, path },
            types::Error::Busy => Error::Busy { driver, path },
            types::Error::Interrupted => Error::Interrupted { driver, path },
            types::Error::TooLarge(limit) => Error::TooLarge { driver, path, limit },
            types::Error::Damaged(reason) => Error::Damaged {
                driver,
                path,
                reason: text(reason),
            },
            types::Error::NoSpace => Error::NoSpace { driver, path },
            types::Error::Denied(reason) => Error::Denied {
                driver,
                path,
                reason: text(reason),
            },
            types::Error::Unavailable(why) => Error::Unavailable {
                driver,
                reason: text(why.reason),
                retry_after: why.retry_after.map(|seconds| Duration::from_secs(seconds.into())),
            },
            types::Error::Other(reason) => Error::Other {
                driver,
                doing: asked.doing,
                path,
                source: text(reason).into(),
            },
        }
    }

    /// The name of the driver, for errors.
    pub(super) fn name(&self) -> DriverName {
        self.plugin.name.clone().into()
    }
}

/// What the inner driver's error is to a guest.
pub(super) fn to_guest(error: Error) -> types::Error {
    match error {
        Error::NotFound { .. } => types::Error::NotFound,
        Error::InvalidPath { reason, .. } => types::Error::InvalidPath(reason.into_owned()),
        Error::InvalidOffset { size, .. } => types::Error::InvalidOffset(size),
        Error::IsFolder { .. } => types::Error::IsFolder,
        Error::NotFolder { .. } => types::Error::NotFolder,
        Error::Unsupported { what, .. } => types::Error::Unsupported(what.into_owned()),
        Error::AlreadyExists { .. } => types::Error::AlreadyExists,
        Error::Busy { .. } => types::Error::Busy,
        Error::Interrupted { .. } => types::Error::Interrupted,
        Error::TooLarge { limit, .. } => types::Error::TooLarge(limit),
        Error::Damaged { reason, .. } => types::Error::Damaged(reason),
        Error::NoSpace { .. } => types::Error::NoSpace,
        Error::Denied { reason, .. } => types::Error::Denied(reason),
        Error::Unavailable {
            reason, retry_after, ..
        } => unavailable(reason, retry_after),
        other => types::Error::Other(other.to_string()),
    }
}

/// A store that does not answer.
pub(super) fn unavailable(reason: String, retry_after: Option<Duration>) -> types::Error {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    types::Error::Unavailable(types::Unavailability {
        reason,
        retry_after: retry_after.map(seconds),
    })
}
