//! What can go wrong, as meanings.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::{StoragePath, limits};

/// The name of a driver in errors.
pub type DriverName = Cow<'static, str>;

/// The errors of drivers. Those that a driver gives begin with its name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is there, or nothing that is committed.
    #[error("{driver}: {path} does not exist")]
    NotFound {
        /// The driver.
        driver: DriverName,
        /// What was asked for.
        path: StoragePath,
    },
    /// The path breaks a rule of [`StoragePath`], or is the root where that cannot be.
    #[error("{path:?} is not a path of a storage driver: {reason}")]
    InvalidPath {
        /// The beginning of the path.
        path: String,
        /// The rule that it breaks.
        reason: Cow<'static, str>,
    },
    /// A read from beyond the end. A read from exactly the end gives nothing, and is no error.
    #[error("{driver}: {path} has {size} bytes, there is nothing to read from {offset} on")]
    InvalidOffset {
        /// The driver.
        driver: DriverName,
        /// What was to be read.
        path: StoragePath,
        /// From where.
        offset: u64,
        /// How many bytes there are.
        size: u64,
    },
    /// The path is a folder, and the call is for content.
    #[error("{driver}: {path} is a folder")]
    IsFolder {
        /// The driver.
        driver: DriverName,
        /// The folder.
        path: StoragePath,
    },
    /// The path, or one on the way to it, is content, and the call needs a folder there.
    #[error("{driver}: {path} is not, or is not in, a folder")]
    NotFolder {
        /// The driver.
        driver: DriverName,
        /// What was asked for.
        path: StoragePath,
    },
    /// The driver cannot do this at all; [`Capabilities`](crate::Capabilities) says so beforehand.
    #[error("{driver}: cannot {what}")]
    Unsupported {
        /// The driver.
        driver: DriverName,
        /// What it cannot do.
        what: Cow<'static, str>,
    },
    /// There is content already, and the call was to make it only where there is none.
    #[error("{driver}: {path} exists already")]
    AlreadyExists {
        /// The driver.
        driver: DriverName,
        /// What is there.
        path: StoragePath,
    },
    /// Another writer has the path open.
    #[error("{driver}: {path} is being written by somebody else; try again when they have finished")]
    Busy {
        /// The driver.
        driver: DriverName,
        /// What is being written.
        path: StoragePath,
    },
    /// A write that was dropped half-way, or failed, left the writer in a state that is not known.
    #[error("{driver}: a write to {path} was cut off; open it again to append, which says how much is there")]
    Interrupted {
        /// The driver.
        driver: DriverName,
        /// What was being written.
        path: StoragePath,
    },
    /// The content is larger than the caller allows, or than the driver can keep.
    #[error("{driver}: {path} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The driver.
        driver: DriverName,
        /// Which content.
        path: StoragePath,
        /// The limit in bytes.
        limit: u64,
    },
    /// The content is not what was written.
    #[error("{driver}: {path} is damaged: {reason}")]
    Damaged {
        /// The driver.
        driver: DriverName,
        /// Which content.
        path: StoragePath,
        /// What does not fit.
        reason: String,
    },
    /// The disk, the quota, the bucket or the memory is full. What was there before is kept.
    #[error("{driver}: no space left for {path}; make room and try again")]
    NoSpace {
        /// The driver.
        driver: DriverName,
        /// What was being written.
        path: StoragePath,
    },
    /// The store refuses it to whom the driver acts for.
    #[error("{driver}: access to {path} is denied: {reason}")]
    Denied {
        /// The driver.
        driver: DriverName,
        /// To what.
        path: StoragePath,
        /// What the store said.
        reason: String,
    },
    /// The store does not answer, or asks for patience. The same call may work later.
    #[error("{driver}: the store is not available: {reason}")]
    Unavailable {
        /// The driver.
        driver: DriverName,
        /// What happened.
        reason: String,
        /// How long to wait before the next try, if the store said so.
        retry_after: Option<Duration>,
    },
    /// Anything else.
    #[error("{driver}: cannot {doing} {path}: {source}")]
    Other {
        /// The driver.
        driver: DriverName,
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: StoragePath,
        /// What the store or the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// A path that was refused. Only its beginning is kept.
    #[must_use]
    pub fn invalid_path(path: &str, reason: impl Into<Cow<'static, str>>) -> Error {
        let end = path.floor_char_boundary(limits::SHOWN_BYTES);
        Error::InvalidPath {
            path: path[..end].to_owned(),
            reason: reason.into(),
        }
    }

    /// An operating system's error with what was being done, told apart by its meaning.
    #[must_use]
    pub fn io(driver: DriverName, doing: &'static str, path: &StoragePath, source: io::Error) -> Error {
        let path = path.clone();
        let errno = source.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            Some(Errno::NOENT) => Error::NotFound { driver, path },
            Some(Errno::ISDIR) => Error::IsFolder { driver, path },
            Some(Errno::NOTDIR) => Error::NotFolder { driver, path },
            Some(Errno::NOSPC | Errno::DQUOT) => Error::NoSpace { driver, path },
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::XDEV | Errno::LOOP) => Error::Denied {
                driver,
                path,
                reason: source.to_string(),
            },
            Some(Errno::NFILE | Errno::MFILE | Errno::NOMEM | Errno::STALE | Errno::TIMEDOUT) => {
                Error::Unavailable {
                    driver,
                    reason: format!("cannot {doing} {path}: {source}"),
                    retry_after: None,
                }
            }
            _ => Error::Other {
                driver,
                doing,
                path,
                source: source.into(),
            },
        }
    }

    /// Whether the error is [`Error::NotFound`].
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }

    /// Whether the same call may work later without anybody doing something about it.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Error::Unavailable { .. })
    }
}
