//! Why a layer could not be applied.

use transom_sys::Errno;

use super::limits::NAME_IN_MESSAGE;
use crate::tar::{SourceError, TarError};

/// Why `apply` stopped. What it had created until then stays: see [`crate::apply::remove_contents`].
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The source of the tar failed; the cause is there, not here.
    #[error("the tar stream could not be read on: {0}")]
    Source(#[source] SourceError),
    /// The stream is not a tar that can be read to its end.
    #[error(transparent)]
    Tar(TarError),
    /// The file system is full, or the owner's quota is used up.
    #[error("no space left to {action} {entry}: {errno}; free some space and unpack again")]
    NoSpace {
        /// The entry's name, made printable.
        entry: String,
        /// What was being done.
        action: &'static str,
        /// `ENOSPC` or `EDQUOT`.
        #[source]
        errno: Errno,
    },
    /// The entry says something that cannot be: containerd's "invalid archive".
    #[error("invalid archive: {entry}: {problem}")]
    Invalid {
        /// The entry's name, made printable.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The entry's type is none that a layer may have.
    #[error(
        "unhandled tar header type {flag} ({entry}); only files, folders, links, devices and fifos can be unpacked"
    )]
    UnhandledType {
        /// The entry's name, made printable.
        entry: String,
        /// The type flag.
        flag: u8,
    },
    /// The archive has more of something than [`crate::apply::ApplyLimits`] allows.
    #[error("the archive has more than {limit} {what}; raise the limit if that is meant")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// The file system refused something.
    #[error("cannot {action} {entry}: {errno}{hint}")]
    Io {
        /// The entry's name, made printable.
        entry: String,
        /// What was being done.
        action: &'static str,
        /// The kernel's answer.
        #[source]
        errno: Errno,
        /// What may help; empty, or beginning with a space.
        hint: &'static str,
    },
}

impl From<TarError> for ApplyError {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Source(error) => Self::Source(error),
            other => Self::Tar(other),
        }
    }
}

impl ApplyError {
    /// The kernel's refusal of `action` on the entry `path`.
    pub(super) fn io(path: &[u8], action: &'static str, errno: Errno) -> Self {
        let entry = printable(path);
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace { entry, action, errno },
            Errno::MFILE | Errno::NFILE => Self::Io {
                entry,
                action,
                errno,
                hint: " (raise the limit of open files: ulimit -n)",
            },
            _ => Self::Io {
                entry,
                action,
                errno,
                hint: "",
            },
        }
    }

    /// A refusal of the archive for what the entry `path` says.
    pub(super) fn invalid(path: &[u8], problem: &'static str) -> Self {
        Self::Invalid {
            entry: printable(path),
            problem,
        }
    }
}

/// A name from the archive for messages: bytes that are no UTF-8 replaced, control characters escaped, cut when long.
pub(crate) fn printable(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == NAME_IN_MESSAGE {
            out.push('…');
            break;
        }
        if character.is_control() || character == '\\' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    if out.is_empty() {
        "(empty name)".to_owned()
    } else {
        out
    }
}
