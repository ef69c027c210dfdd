//! Why a call of a storage driver failed.

use std::io;

/// Why a call of a storage driver failed. The host adds the driver and the path.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StorageError {
    /// Nothing is there, or nothing that is committed.
    #[error("it does not exist")]
    NotFound,
    /// The path breaks a rule.
    #[error("the path is not one of this driver's: {0}")]
    InvalidPath(String),
    /// A read from beyond the end; the value is the size.
    #[error("it has {0} bytes only")]
    InvalidOffset(u64),
    /// The path is a folder, and the call is for content.
    #[error("it is a folder")]
    IsFolder,
    /// The path, or one on the way to it, is content, and the call needs a folder there.
    #[error("it is not, or is not in, a folder")]
    NotFolder,
    /// The driver cannot do this at all; the text completes "cannot".
    #[error("cannot {0}")]
    Unsupported(String),
    /// There is content already.
    #[error("it exists already")]
    AlreadyExists,
    /// Another writer has the path open.
    #[error("it is being written by somebody else")]
    Busy,
    /// A write that was cut off left the writer in a state that is not known.
    #[error("a write was cut off")]
    Interrupted,
    /// The content is larger than this many bytes.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// The content is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The store is full.
    #[error("no space is left")]
    NoSpace,
    /// The store, or the host, refuses it.
    #[error("it is denied: {0}")]
    Denied(String),
    /// The store does not answer, or asks for patience.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
        /// Seconds to wait before the next try, if the store said so.
        retry_after: Option<u32>,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl StorageError {
    /// Content that is not what was written.
    pub fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// A store that does not answer.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            retry_after: None,
        }
    }
}

impl From<StorageError> for io::Error {
    /// Wraps it, for a way through [`std::io::Read`] or [`std::io::Write`].
    fn from(error: StorageError) -> Self {
        let kind = match error {
            StorageError::NotFound => io::ErrorKind::NotFound,
            StorageError::Damaged(_) => io::ErrorKind::InvalidData,
            StorageError::NoSpace => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl From<io::Error> for StorageError {
    /// Keeps a [`StorageError`] as it is. What a decoder says of its input becomes [`StorageError::Damaged`].
    fn from(error: io::Error) -> Self {
        let error = match error.downcast::<StorageError>() {
            Ok(error) => return error,
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::damaged("it ends too early"),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Damaged(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_std() {
        for error in [
            StorageError::NotFound,
            StorageError::damaged("x"),
            StorageError::InvalidOffset(7),
            StorageError::unavailable("x"),
        ] {
            assert_eq!(StorageError::from(io::Error::from(error.clone())), error);
        }
        let early = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert!(matches!(StorageError::from(early), StorageError::Damaged(_)));
    }
}
