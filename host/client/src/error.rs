//! What can go wrong, as meanings.

use std::path::PathBuf;
use std::time::Duration;

use transom_oci::Digest;

use crate::limits;

/// The errors of the client. None of them repeats a secret: neither of ours nor the query of a signed address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not the name of an image.
    #[error("{text:?} is not the name of an image: {reason}")]
    Reference {
        /// What was given, shortened.
        text: String,
        /// What is wrong with it, and what to write.
        reason: String,
    },
    /// A mistake in a file of settings.
    #[error("{}{}: {reason}", path.display(), at(*line))]
    File {
        /// The file.
        path: PathBuf,
        /// The line, if the mistake has one.
        line: Option<usize>,
        /// What is wrong with it, and what to write.
        reason: String,
    },
    /// The settings of the client itself do not work.
    #[error("cannot set up the client of {host}: {reason}")]
    Setup {
        /// For which host.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// A credential helper did not do its work.
    #[error("credential helper {program} failed: {reason}")]
    Helper {
        /// The helper's program.
        program: String,
        /// What happened.
        reason: String,
    },
    /// The registry wants to know who asks, or did not believe it.
    #[error("{host} wants a login for {what}: {reason}")]
    Unauthorized {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What the registry said, and what to do.
        reason: String,
    },
    /// The registry knows who asks, and that is not enough.
    #[error("{host} does not allow {what}: {reason}")]
    Denied {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What the registry said.
        reason: String,
    },
    /// The registry does not have it.
    #[error("{host} does not have {what}{}", said(reason))]
    NotFound {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What the registry said.
        reason: String,
    },
    /// The registry cannot do this at all, or was told not to (deletes, mostly).
    #[error("{host} does not support {what}{}", said(reason))]
    Unsupported {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What the registry said.
        reason: String,
    },
    /// The registry still had too much to do when all tries were used up, or wants to be left alone for longer than
    /// [`limits::RETRY_AFTER`].
    #[error("{host} has too many requests{}; try again later", after(*retry_after))]
    Busy {
        /// The registry.
        host: String,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// The registry answered with another status.
    #[error("{host} answered {status} to {what}{}", said(reason))]
    Status {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// The status of HTTP.
        status: u16,
        /// The first of the registry's own error codes, such as `MANIFEST_INVALID`; empty if there is none.
        code: String,
        /// What the registry said.
        reason: String,
    },
    /// No connection, or it was cut, and trying again did not help.
    #[error("cannot reach {host}: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// The host could not show that it is who it should be, or our certificate was refused.
    #[error(
        "no trusted connection to {host}: {reason}; put its authority's certificate into certs.d (see docs/guides/registry-client.md)"
    )]
    Tls {
        /// The host.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing came (or went) for too long.
    #[error("{host} was silent for {} s", after.as_secs_f32())]
    Stalled {
        /// The host.
        host: String,
        /// For how long.
        after: Duration,
    },
    /// The answer is not what the specification says.
    #[error("{host} does not keep to the protocol: {reason}")]
    Protocol {
        /// The host.
        host: String,
        /// What it did.
        reason: String,
    },
    /// An answer is larger than anything useful.
    #[error("{what} from {host} has more than {limit} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are not those that were asked for. Nothing of them is kept.
    #[error("{host} sent other bytes than {expected}: their digest is {actual}")]
    WrongDigest {
        /// The host.
        host: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// There are more or fewer bytes than there should be. Nothing of them is kept.
    #[error("{host} has {actual} bytes under {digest}, expected {expected}")]
    WrongSize {
        /// The host.
        host: String,
        /// What was asked for.
        digest: Digest,
        /// The size that it should have.
        expected: u64,
        /// The size that it has there.
        actual: u64,
    },
    /// None of the configured hosts may be asked for this.
    #[error("no host of {registry} may {action}: see the capabilities in its hosts.toml")]
    NoHost {
        /// The registry.
        registry: String,
        /// What is wanted: `pull`, `resolve`, `push`.
        action: &'static str,
    },
    /// All hosts of a registry were tried; `last` is what the last one said.
    #[error("{last}; before that: {}", earlier.join("; "))]
    Mirrors {
        /// What the others said.
        earlier: Vec<String>,
        /// What the last one said.
        last: Box<Error>,
    },
    /// What should be uploaded cannot be read.
    #[error("cannot read what should be uploaded: {source}")]
    Source {
        /// The reader's error.
        source: std::io::Error,
    },
    /// The content store refused what was fetched.
    #[error("cannot store {digest}: {source}")]
    Store {
        /// What was being fetched.
        digest: Digest,
        /// The store's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// The error that decides: of several hosts, the last one's.
    #[must_use]
    pub fn cause(&self) -> &Error {
        match self {
            Error::Mirrors { last, .. } => last.cause(),
            other => other,
        }
    }

    /// Whether the registry does not have it.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.cause(), Error::NotFound { .. })
    }

    /// Whether a login, or another one, may help.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self.cause(), Error::Unauthorized { .. })
    }

    /// Whether the fault is the host's, so that another host may be asked.
    pub(crate) fn is_the_hosts(&self) -> bool {
        !matches!(
            self.cause(),
            Error::Store { .. } | Error::Source { .. } | Error::Reference { .. } | Error::Helper { .. }
        )
    }

    /// Whether the host could not be spoken with at all.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self.cause(),
            Error::Unreachable { .. } | Error::Stalled { .. } | Error::Tls { .. }
        )
    }
}

fn at(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

fn said(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

fn after(time: Option<Duration>) -> String {
    time.map(|time| format!(" (asks to wait {} s)", time.as_secs()))
        .unwrap_or_default()
}

/// A stranger's text, safe to print: without control characters, and not too long.
pub(crate) fn shortened(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(limits::MESSAGE_CHARS).map(printable).collect();
    if text.chars().nth(limits::MESSAGE_CHARS).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_cannot_move_the_cursor() {
        assert_eq!(shortened("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(shortened(&"ä".repeat(1_000)).chars().count(), 301);
    }

    #[test]
    fn the_last_host_decides() {
        let last = Error::NotFound {
            host: "b".into(),
            what: "c".into(),
            reason: String::new(),
        };
        let error = Error::Mirrors {
            earlier: vec!["cannot reach a: refused".into()],
            last: Box::new(last),
        };
        assert!(error.is_not_found());
        assert_eq!(
            error.to_string(),
            "b does not have c; before that: cannot reach a: refused"
        );
    }
}
