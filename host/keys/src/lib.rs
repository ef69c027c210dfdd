//! Private keys of a node, and the keys of encrypted layers that were wrapped for them.
//!
//! ```text
//! files → Keyring → private keys ─┐
//! annotation → wrapped bytes ─────┴▶ unwrap → what the sender wrapped: a layer's key
//! ```
//!
//! Read in that order: [`keyring`] (where private keys are, and [`Keyring::unwrap`]), `private` (a file's keys), `jwe` (the one
//! form of wrapping that is read: a message, who it is for, what is in it) over `jwe/agreement` (ECDH-ES) and `jwe/content`
//! (AES-GCM); `payload` (keys that containerd's clients send); [`cipher`] (what a layer's key is
//! for); [`signature`] (keys that sign, and those that check); [`limits`], [`error`]. Nothing in here is specific to layers: what a wrapped text means is its reader's matter.

pub mod cipher;
pub mod error;
pub mod keyring;
pub mod limits;
pub mod signature;

mod jwe;
mod payload;
mod private;

pub use error::{KeyError, UnwrapError};
pub use keyring::{Keyring, Scheme};
pub use payload::PAYLOAD_TYPE_URL;
pub use signature::{PublicKey, SigningKey};
