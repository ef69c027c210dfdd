//! What can go wrong: with a file of keys ([`KeyError`]) and with a wrapped key ([`UnwrapError`]). No text repeats a key.

use std::io;
use std::path::PathBuf;

use crate::limits::{KEY_FILE_BYTES_MAX, KEYS_MAX};

/// Why private keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or a folder cannot be read.
    #[error("cannot read the key {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in a file, or was handed over, is no private key that is read here.
    #[error("{place} holds no private key that can be used: {reason}")]
    NoKey {
        /// The file, or where else it comes from.
        place: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// What should be a public key is none that is read here.
    #[error("{place} holds no public key that can be used: {reason}")]
    NoPublicKey {
        /// The file, or where else it comes from.
        place: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The system gives no random numbers, without which nothing is signed.
    #[error("the system gives no random numbers: nothing can be signed")]
    Random,
    /// A file is larger than any key.
    #[error("{} has more than {KEY_FILE_BYTES_MAX} bytes: it is no private key", .0.display())]
    TooLarge(PathBuf),
    /// There are more keys than are tried.
    #[error("there are more than {KEYS_MAX} private keys; name fewer files or folders")]
    TooMany,
}

/// Why a wrapped key was not unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum UnwrapError {
    /// The way in which it was wrapped, or an algorithm in it, is none that is known here.
    #[error("{0}")]
    Unsupported(String),
    /// It is not what its scheme says.
    #[error("the wrapped key is malformed: {0}")]
    Malformed(String),
    /// It was wrapped for other keys than those that are here.
    #[error("none of the {} opens it: {reason}", counted(*.tried))]
    NoKey {
        /// How many keys there are.
        tried: usize,
        /// For whom it is.
        reason: String,
    },
    /// The keys themselves cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

fn counted(keys: usize) -> String {
    match keys {
        1 => "1 private key".to_owned(),
        keys => format!("{keys} private keys"),
    }
}
