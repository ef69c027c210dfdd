//! Why a job failed.

use std::io;

/// Why a job failed. The host adds the plugin's name, version and digest and the layer's digest, so that a message need
/// only say what is wrong, in lower case.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The input is well formed but uses something that this plugin does not do.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The input is damaged.
    #[error("the input is damaged: {message}")]
    Corrupt {
        /// Where, in bytes from the start of the input, when that is known.
        offset: Option<u64>,
        /// What was found there, and what was expected.
        message: String,
    },
    /// The plugin needs something that it was not granted.
    #[error("denied: {0}")]
    Denied(String),
    /// The configuration is wrong.
    #[error("configuration key {key:?}: {message}")]
    Config {
        /// The key, as `plugin.toml` declares it.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// A limit of the plugin's own was met.
    #[error("limit met: {0}")]
    Limit(String),
    /// A stream of the host failed. Comes from the input and the output by `?`.
    #[error("{0}")]
    Io(#[from] IoError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Damaged input at a known place.
    pub fn corrupt_at(offset: u64, message: impl Into<String>) -> Self {
        Self::Corrupt {
            offset: Some(offset),
            message: message.into(),
        }
    }

    /// The same error; of damaged input, with the place, if it has none.
    #[must_use]
    pub fn near(self, offset: u64) -> Self {
        match self {
            Self::Corrupt {
                offset: None,
                message,
            } => Self::corrupt_at(offset, message),
            other => other,
        }
    }
}

impl From<io::Error> for Error {
    /// Keeps the host's own errors as they are. What a decoder says of its input (`InvalidData`, `InvalidInput`,
    /// `UnexpectedEof`) becomes [`Error::Corrupt`]; `Unsupported` and `OutOfMemory` become what they say.
    fn from(error: io::Error) -> Self {
        let error = match error.downcast::<IoError>() {
            Ok(host) => return Self::Io(host),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Corrupt {
                offset: None,
                message: error.to_string(),
            },
            io::ErrorKind::UnexpectedEof => Self::Corrupt {
                offset: None,
                message: "the input ends too early".into(),
            },
            io::ErrorKind::Unsupported => Self::Unsupported(error.to_string()),
            io::ErrorKind::OutOfMemory => Self::Limit(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Why a stream of the host cannot go on. There is nothing to do about it but to stop.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IoError {
    /// The job is being stopped.
    #[error("the job is being stopped")]
    Cancelled,
    /// The other end of the stream has failed or gone away.
    #[error("the other end of the stream is gone")]
    Broken,
    /// A limit that the host set on the job was met.
    #[error("limit of the host met: {0}")]
    Limit(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<IoError> for io::Error {
    /// Wraps it, with a kind that fits: never `Interrupted`, which the standard library would retry.
    fn from(error: IoError) -> Self {
        let kind = match error {
            IoError::Cancelled => io::ErrorKind::ConnectionAborted,
            IoError::Broken => io::ErrorKind::BrokenPipe,
            IoError::Limit(_) => io::ErrorKind::FileTooLarge,
            IoError::Other(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_error_survives_the_way_through_std() {
        for host in [
            IoError::Cancelled,
            IoError::Broken,
            IoError::Limit("output".into()),
            IoError::Other("x".into()),
        ] {
            assert_eq!(Error::from(io::Error::from(host.clone())), Error::Io(host));
        }
    }

    #[test]
    fn a_decoders_complaint_is_corruption() {
        let early = Error::from(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(matches!(early, Error::Corrupt { offset: None, .. }));
        let invalid = Error::from(io::Error::new(io::ErrorKind::InvalidData, "bad magic"));
        assert_eq!(
            invalid,
            Error::Corrupt {
                offset: None,
                message: "bad magic".into()
            }
        );
    }
}
