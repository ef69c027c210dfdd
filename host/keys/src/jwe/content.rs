//! The encryption of the content: AES-GCM.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// An encryption of content.
pub(super) struct Encryption(&'static ring::aead::Algorithm);

impl Encryption {
    /// By its name in a header.
    pub(super) fn named(name: &str) -> Option<Encryption> {
        match name {
            "A128GCM" => Some(Encryption(&AES_128_GCM)),
            "A256GCM" => Some(Encryption(&AES_256_GCM)),
            _ => None,
        }
    }

    pub(super) fn key_bytes(&self) -> usize {
        self.0.key_len()
    }

    /// The text, if it is what was encrypted with this key.
    pub(super) fn open(
        &self,
        key: &[u8],
        iv: &[u8],
        associated: &[u8],
        mut ciphertext: Vec<u8>,
        tag: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let key = LessSafeKey::new(UnboundKey::new(self.0, key).ok()?);
        let nonce = Nonce::try_assume_unique_for_key(iv).ok()?;
        if tag.len() != self.0.tag_len() {
            return None;
        }
        ciphertext.extend_from_slice(tag);
        let length = key
            .open_in_place(nonce, Aad::from(associated), &mut ciphertext)
            .ok()?
            .len();
        ciphertext.truncate(length);
        Some(Zeroizing::new(ciphertext))
    }
}
