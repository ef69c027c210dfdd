//! What strangers may hand in, and why no more.

/// Bytes of a wrapped key. One recipient of JWE takes about a kilobyte, with an RSA key of 8192 bits; a message may have
/// several.
pub const WRAPPED_BYTES_MAX: usize = 256 << 10;

/// Recipients of one message. Each may cost an operation with each private key.
pub const RECIPIENTS_MAX: usize = 64;

/// Bytes of a file with private keys. A key of 8192 bits takes 6.4 KB as PEM.
pub const KEY_FILE_BYTES_MAX: u64 = 256 << 10;

/// Private keys of a keyring. All of them are tried.
pub const KEYS_MAX: usize = 256;
