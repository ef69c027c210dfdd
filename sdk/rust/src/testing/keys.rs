//! The host's part of decryption in native tests: what a test says that it unwraps, and real ciphers.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use aes::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2_for_hmac::Sha256;

use crate::keys::UnwrapError;

type Unwrap = dyn Fn(&str, &[u8]) -> Result<Vec<u8>, UnwrapError>;

/// What a test says that opens.
#[derive(Clone, Default)]
pub(super) struct Unwrapping(Option<Rc<Unwrap>>);

impl Unwrapping {
    pub(super) fn new(unwrap: impl Fn(&str, &[u8]) -> Result<Vec<u8>, UnwrapError> + 'static) -> Self {
        Self(Some(Rc::new(unwrap)))
    }
}

impl fmt::Debug for Unwrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unwrapping({})", self.0.is_some())
    }
}

thread_local! {
    static UNWRAPPING: RefCell<Unwrapping> = RefCell::default();
}

/// Sets it for this thread.
pub(super) fn set(unwrapping: Unwrapping) {
    UNWRAPPING.set(unwrapping);
}

pub(crate) fn unwrap(scheme: &str, wrapped: &[u8]) -> Result<Vec<u8>, UnwrapError> {
    match UNWRAPPING.with_borrow(|unwrapping| unwrapping.0.clone()) {
        Some(unwrap) => unwrap(scheme, wrapped),
        None => Err(UnwrapError::Denied("the test grants no keys".to_owned())),
    }
}

/// By the length of its key.
pub(crate) enum AesCtr {
    Aes128(Box<ctr::Ctr128BE<aes::Aes128>>),
    Aes192(Box<ctr::Ctr128BE<aes::Aes192>>),
    Aes256(Box<ctr::Ctr128BE<aes::Aes256>>),
}

impl AesCtr {
    pub(crate) fn begin(key: &[u8], counter: &[u8]) -> Option<Self> {
        Some(match key.len() {
            16 => Self::Aes128(Box::new(KeyIvInit::new_from_slices(key, counter).ok()?)),
            24 => Self::Aes192(Box::new(KeyIvInit::new_from_slices(key, counter).ok()?)),
            32 => Self::Aes256(Box::new(KeyIvInit::new_from_slices(key, counter).ok()?)),
            _ => return None,
        })
    }

    pub(crate) fn apply(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        match self {
            Self::Aes128(cipher) => cipher.apply_keystream(&mut out),
            Self::Aes192(cipher) => cipher.apply_keystream(&mut out),
            Self::Aes256(cipher) => cipher.apply_keystream(&mut out),
        }
        out
    }
}

impl fmt::Debug for AesCtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesCtr")
    }
}

pub(crate) struct HmacSha256(Hmac<Sha256>);

impl HmacSha256 {
    pub(crate) fn new(key: &[u8]) -> Self {
        let code = Hmac::new_from_slice(key);
        Self(code.unwrap_or_else(|_| unreachable!("a key of any length is one of HMAC")))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn verify(code: Self, tag: &[u8]) -> bool {
        code.0.verify_slice(tag).is_ok()
    }
}

impl fmt::Debug for HmacSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSha256")
    }
}
