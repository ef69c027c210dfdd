//! The host's keys and ciphers.

use self::bindings::transom::keys::{cipher, unwrap as interface};
use crate::keys::UnwrapError;

pub(crate) use self::cipher::{AesCtr, HmacSha256};

/// The interfaces' functions, generated from `wit/`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "wit/keys",
        world: "transom:keys/decryptor",
        generate_all,
    });
}

pub(crate) fn unwrap(scheme: &str, wrapped: &[u8]) -> Result<Vec<u8>, UnwrapError> {
    interface::unwrap(scheme, wrapped).map_err(|error| match error {
        interface::UnwrapError::Denied(text) => UnwrapError::Denied(text),
        interface::UnwrapError::NoKey(text) => UnwrapError::NoKey(text),
        interface::UnwrapError::Unsupported(text) => UnwrapError::Unsupported(text),
        interface::UnwrapError::Malformed(text) => UnwrapError::Malformed(text),
        interface::UnwrapError::Unavailable(text) => UnwrapError::Unavailable(text),
    })
}
