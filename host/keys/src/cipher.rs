//! The ciphers that layers are encrypted with, by the CPU's instructions for them.

use std::fmt;

use aes::cipher::{KeyIvInit, StreamCipher};
use bytes::{Bytes, BytesMut};
use ring::hmac;

/// AES in counter mode. The counter block is one big-endian number.
pub struct AesCtr(Keyed);

/// By the length of the key.
enum Keyed {
    Aes128(Box<ctr::Ctr128BE<aes::Aes128>>),
    Aes192(Box<ctr::Ctr128BE<aes::Aes192>>),
    Aes256(Box<ctr::Ctr128BE<aes::Aes256>>),
}

/// HMAC with SHA-256 over what came so far.
pub struct HmacSha256 {
    key: hmac::Key,
    context: hmac::Context,
}

impl AesCtr {
    /// Begins with a key of 16, 24 or 32 bytes and the first counter block, which is 16 bytes. `None` if one of them has another
    /// length.
    #[must_use]
    pub fn begin(key: &[u8], counter: &[u8]) -> Option<AesCtr> {
        Some(AesCtr(match key.len() {
            16 => Keyed::Aes128(Box::new(KeyIvInit::new_from_slices(key, counter).ok()?)),
            24 => Keyed::Aes192(Box::new(KeyIvInit::new_from_slices(key, counter).ok()?)),
            32 => Keyed::Aes256(Box::new(KeyIvInit::new_from_slices(key, counter).ok()?)),
            _ => return None,
        }))
    }

    /// Encrypts or decrypts the next bytes. The memory of `buffer` is used for each answer, once the last one is gone. `None` when the
    /// counter has come round.
    #[must_use]
    pub fn apply(&mut self, bytes: &[u8], buffer: &mut BytesMut) -> Option<Bytes> {
        buffer.clear();
        buffer.resize(bytes.len(), 0);
        let done = match &mut self.0 {
            Keyed::Aes128(cipher) => cipher.try_apply_keystream_b2b(bytes, buffer),
            Keyed::Aes192(cipher) => cipher.try_apply_keystream_b2b(bytes, buffer),
            Keyed::Aes256(cipher) => cipher.try_apply_keystream_b2b(bytes, buffer),
        };
        done.ok()?;
        Some(buffer.split().freeze())
    }
}

impl HmacSha256 {
    /// Begins with a key of any length.
    #[must_use]
    pub fn begin(key: &[u8]) -> HmacSha256 {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let context = hmac::Context::with_key(&key);
        HmacSha256 { key, context }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Whether a tag is that of everything that was taken. Compared in constant time: by the tags of both under the same key.
    #[must_use]
    pub fn verify(self, tag: &[u8]) -> bool {
        let actual = self.context.sign();
        let both = hmac::sign(&self.key, actual.as_ref());
        tag.len() == actual.as_ref().len() && hmac::verify(&self.key, tag, both.as_ref()).is_ok()
    }
}

impl fmt::Debug for AesCtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesCtr")
    }
}

impl fmt::Debug for HmacSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSha256")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-38A, F.5.1 and F.5.5.
    #[test]
    fn the_cipher_is_that_of_the_standard() {
        let counter: Vec<u8> = (0xf0..=0xff).collect();
        let hex = |text: &str| -> Vec<u8> {
            let (pairs, _) = text.as_bytes().as_chunks::<2>();
            let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            pairs.iter().map(byte).collect()
        };
        let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let mut buffer = BytesMut::new();
        for (key, sealed) in [
            (
                "2b7e151628aed2a6abf7158809cf4f3c",
                "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff",
            ),
            (
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
            ),
        ] {
            let mut cipher = AesCtr::begin(&hex(key), &counter).unwrap();
            let first = cipher.apply(&plain[..5], &mut buffer).unwrap();
            let rest = cipher.apply(&plain[5..], &mut buffer).unwrap();
            assert_eq!([first, rest].concat(), hex(sealed));
        }
        assert!(AesCtr::begin(&[0; 31], &counter).is_none());
        assert!(AesCtr::begin(&[0; 32], &counter[1..]).is_none());
    }

    #[test]
    fn a_code_is_right_or_wrong() {
        let code = |bytes: &[u8]| {
            let mut code = HmacSha256::begin(b"key");
            code.update(bytes);
            code
        };
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"text");
        assert!(code(b"text").verify(tag.as_ref()));
        assert!(!code(b"next").verify(tag.as_ref()));
        assert!(!code(b"text").verify(&tag.as_ref()[..31]));
        assert!(!code(b"text").verify(b""));
    }
}
