//! Why something is no artifact of a plugin.

use std::io;

use transom_oci::Digest;

use crate::error::LoadError;

/// Why an artifact, or its signatures, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is something else.
    #[error("this is no plugin: {0}")]
    NotAPlugin(String),
    /// A part of it cannot be read.
    #[error("cannot read {what} ({digest}): {source}")]
    Read {
        /// Which part.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// What the store said.
        source: io::Error,
    },
    /// A part of it has other bytes than it must have.
    #[error("{what} is damaged ({digest}): {reason}")]
    Damaged {
        /// Which part.
        what: &'static str,
        /// The digest that it should have.
        digest: Digest,
        /// What it has instead.
        reason: String,
    },
    /// A part of it is larger than any plugin's.
    #[error("{what} has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The component or its `plugin.toml` is wrong.
    #[error(transparent)]
    Component(#[from] LoadError),
}
