//! Why two trees could not be compared.

use transom_sys::Errno;

use crate::apply::error::printable;
use crate::stage::StageError;
use crate::tar::WriteError;

/// Why a comparison failed. What the sink has got by then is no layer.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The upper folder alone does not tell what changed: overlayfs keeps something about this entry elsewhere. Forget
    /// what was written and compare the mounted trees instead.
    #[error("{entry}: {reason}; compare the mounted trees instead")]
    Cannot {
        /// The entry's name, made printable.
        entry: String,
        /// What is there.
        reason: &'static str,
    },
    /// A file changed while it was read, so that what was read of it is no state that it ever had.
    #[error("{entry} {problem} while it was read; stop what writes to it, or try again")]
    Changed {
        /// The file's name, made printable.
        entry: String,
        /// What it did.
        problem: &'static str,
    },
    /// The trees have more of something than [`crate::compare::CompareLimits`] allows, or what no layer can hold.
    #[error("{entry}: more than {limit} {what}")]
    Limit {
        /// Where, made printable.
        entry: String,
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// No tar header can say what an entry is.
    #[error("{entry}: {source}")]
    Entry {
        /// The entry's name, made printable.
        entry: String,
        /// What there is no field for.
        source: WriteError,
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
    /// The compressor.
    #[error("compressing the layer: {0}")]
    Compress(#[source] StageError),
    /// The sink.
    #[error("writing the layer: {0}")]
    Sink(#[source] std::io::Error),
    /// The job was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A part stopped because another did, which reports the cause; seen only where that is lost.
    #[error("internal fault: the comparison stopped without a cause")]
    Stopped,
    /// A thread panicked: a fault of this program, not of the trees.
    #[error("internal fault: the {part} thread panicked")]
    Panicked {
        /// Which.
        part: &'static str,
    },
}

impl CompareError {
    /// The kernel's refusal of `action` on `path`.
    pub(super) fn io(path: &[u8], action: &'static str, errno: Errno) -> Self {
        let hint = match errno {
            Errno::MFILE | Errno::NFILE => " (raise the limit of open files: ulimit -n)",
            Errno::STALE => " (folders were moved about in the tree meanwhile)",
            _ => "",
        };
        Self::Io {
            entry: shown(path),
            action,
            errno,
            hint,
        }
    }

    /// A refusal of the upper folder for what overlayfs keeps at `path`.
    pub(super) fn cannot(path: &[u8], reason: &'static str) -> Self {
        Self::Cannot {
            entry: shown(path),
            reason,
        }
    }

    /// A file at `path` that did not stay as it was.
    pub(super) fn changed(path: &[u8], problem: &'static str) -> Self {
        Self::Changed {
            entry: shown(path),
            problem,
        }
    }

    /// Too much of `what` at `path`.
    pub(super) fn limit(path: &[u8], what: &'static str, limit: u64) -> Self {
        Self::Limit {
            entry: shown(path),
            what,
            limit,
        }
    }

    /// The tar writer's refusal of the entry `path`, or the end of the pipe behind it.
    pub(super) fn write(path: &[u8], error: WriteError) -> Self {
        match error {
            WriteError::Sink(error) => match error.downcast::<StageError>() {
                Ok(StageError::Cancelled) => Self::Cancelled,
                Ok(StageError::Upstream | StageError::Downstream) => Self::Stopped,
                Ok(other) => Self::Compress(other),
                Err(other) => Self::Sink(other),
            },
            source => Self::Entry {
                entry: shown(path),
                source,
            },
        }
    }
}

fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        "the root folder".to_owned()
    } else {
        printable(path)
    }
}
