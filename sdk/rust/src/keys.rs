//! Keys that stay with the host, and ciphers that the host computes, for processors that decrypt.
//!
//! A processor that calls [`unwrap`] asks for it in its `plugin.toml`: `capabilities = ["keys"]`, and the operator grants private keys.
//! [`AesCtr`] and [`HmacSha256`] need no grant; they run at the speed of the CPU's instructions for them, which a component does not
//! have. In tests, [`Harness::unwrapping`](crate::testing::Harness::unwrapping) says what opens.

use crate::Error;

#[cfg(target_arch = "wasm32")]
use crate::guest::keys as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::keys as host;

/// Bytes that go to the host in one call, the most that it takes.
const PIECE: usize = 1 << 20;

/// Why nothing was unwrapped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnwrapError {
    /// The plugin was granted no keys.
    #[error("{0}")]
    Denied(String),
    /// None of the keys that were granted opens it.
    #[error("{0}")]
    NoKey(String),
    /// The scheme, or an algorithm in it, is none that the host knows.
    #[error("{0}")]
    Unsupported(String),
    /// It is not what its scheme says, or it was changed.
    #[error("{0}")]
    Malformed(String),
    /// The host cannot read its keys.
    #[error("{0}")]
    Unavailable(String),
}

impl From<UnwrapError> for Error {
    fn from(error: UnwrapError) -> Self {
        match error {
            UnwrapError::Denied(text) | UnwrapError::NoKey(text) => Self::Denied(text),
            UnwrapError::Unsupported(text) => Self::Unsupported(text),
            UnwrapError::Malformed(message) => Self::Corrupt {
                offset: None,
                message,
            },
            UnwrapError::Unavailable(text) => Self::Other(text),
        }
    }
}

/// Opens what was wrapped for one of the private keys that the plugin was granted. The host knows the scheme `jwe`.
///
/// # Errors
///
/// Any [`UnwrapError`]; `?` makes an [`Error`] of it.
pub fn unwrap(scheme: &str, wrapped: &[u8]) -> Result<Vec<u8>, UnwrapError> {
    host::unwrap(scheme, wrapped)
}

/// AES in counter mode.
#[derive(Debug)]
pub struct AesCtr(host::AesCtr);

impl AesCtr {
    /// Begins with a key of 16, 24 or 32 bytes and the first counter block, which is 16 bytes. `None` if one of them has
    /// another length.
    pub fn new(key: &[u8], counter: &[u8]) -> Option<Self> {
        host::AesCtr::begin(key, counter).map(Self)
    }

    /// Encrypts or decrypts the next bytes, and hands them to `output` in pieces. Between 64 and 256 KiB at a time is quickest.
    ///
    /// # Errors
    ///
    /// Those of `output`.
    pub fn apply(
        &mut self,
        bytes: &[u8],
        mut output: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        bytes
            .chunks(PIECE)
            .try_for_each(|piece| output(&self.0.apply(piece)))
    }
}

/// HMAC with SHA-256.
#[derive(Debug)]
pub struct HmacSha256(host::HmacSha256);

impl HmacSha256 {
    /// Begins with a key of any length.
    pub fn new(key: &[u8]) -> Self {
        Self(host::HmacSha256::new(key))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            self.0.update(piece);
        }
    }

    /// Whether a tag is that of everything that was taken; compared in constant time.
    #[must_use]
    pub fn verify(self, tag: &[u8]) -> bool {
        host::HmacSha256::verify(self.0, tag)
    }
}
