//! Signatures by ECDSA over P-256 with SHA-256, DER-encoded: what cosign makes with a key, and `openssl dgst -sha256 -sign`.

use std::fmt;

use p256::pkcs8::{DecodePublicKey, EncodePublicKey, LineEnding};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};

use crate::error::KeyError;
use crate::limits::KEY_FILE_BYTES_MAX;
use crate::private::PrivateKey;

/// A private key that signs.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// The key in a file's bytes, PEM or DER, without a passphrase. `place` is for messages.
    ///
    /// # Errors
    /// [`KeyError::NoKey`] if it is none, or one of another curve.
    pub fn parse(bytes: &[u8], place: &str) -> Result<SigningKey, KeyError> {
        let unusable = |reason: String| KeyError::NoKey {
            place: place.to_owned(),
            reason,
        };
        let PrivateKey::P256(secret) = PrivateKey::parse(bytes).map_err(unusable)? else {
            return Err(unusable(ANOTHER_KIND.to_owned()));
        };
        let public = PublicKey {
            key: secret.public_key(),
        };
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &secret.to_bytes(),
            &public.point(),
            &SystemRandom::new(),
        );
        let pair = pair.map_err(|error| unusable(error.to_string()))?;
        Ok(SigningKey { pair, public })
    }

    /// The signature of a message.
    ///
    /// # Errors
    /// [`KeyError::Random`] if the system has no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| KeyError::Random)
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Debug for SigningKey {
    /// Nothing of the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// What is said of a sound key that does not sign in this way.
const ANOTHER_KIND: &str =
    "signatures are made with keys of P-256: `openssl ecparam -name prime256v1 -genkey`";

/// A public key that checks signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    key: p256::PublicKey,
}

impl PublicKey {
    /// The key in a text, as PEM with the label `PUBLIC KEY`. `place` is for messages.
    ///
    /// # Errors
    /// [`KeyError::NoPublicKey`].
    pub fn parse(pem: &str, place: &str) -> Result<PublicKey, KeyError> {
        let unusable = |reason: &str| KeyError::NoPublicKey {
            place: place.to_owned(),
            reason: reason.to_owned(),
        };
        if pem.len() as u64 > KEY_FILE_BYTES_MAX {
            return Err(unusable("it is too large for a key"));
        }
        if pem.contains("PRIVATE KEY-----") {
            return Err(unusable(
                "it is a private key; `openssl pkey -in FILE -pubout` writes the public one",
            ));
        }
        let begun = pem.find("-----BEGIN PUBLIC KEY-----");
        let Some(begun) = begun else {
            return Err(unusable("it must be PEM: -----BEGIN PUBLIC KEY-----"));
        };
        let key = p256::PublicKey::from_public_key_pem(pem[begun..].trim_end());
        key.map(|key| PublicKey { key })
            .map_err(|_| unusable(ANOTHER_KIND))
    }

    /// Whether a signature is this key's, of this message.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.point())
            .verify(message, signature)
            .is_ok()
    }

    /// As PEM.
    ///
    /// # Errors
    /// [`KeyError::NoPublicKey`], which no sound key brings about.
    pub fn pem(&self) -> Result<String, KeyError> {
        let pem = self.key.to_public_key_pem(LineEnding::LF);
        pem.map_err(|error| KeyError::NoPublicKey {
            place: "the key".to_owned(),
            reason: error.to_string(),
        })
    }

    /// The point without compression.
    fn point(&self) -> Box<[u8]> {
        self.key.to_sec1_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &[u8] = include_bytes!("../tests/skopeo/p256.pem");
    const RSA: &[u8] = include_bytes!("../tests/skopeo/rsa.pem");

    #[test]
    fn a_signature_is_of_one_message_by_one_key() {
        let key = SigningKey::parse(P256, "p256.pem").unwrap();
        let signature = key.sign(b"a message").unwrap();
        let public = PublicKey::parse(&key.public().pem().unwrap(), "public.pem").unwrap();
        assert!(public.verifies(b"a message", &signature));
        assert!(!public.verifies(b"a massage", &signature));
        assert!(!public.verifies(b"a message", &signature[1..]));
        assert!(!format!("{key:?}").contains("scalar"));
    }

    #[test]
    fn another_key_is_refused_with_what_to_do() {
        let text = |error: KeyError| error.to_string();
        let rsa = text(SigningKey::parse(RSA, "rsa.pem").unwrap_err());
        assert!(rsa.contains("prime256v1"), "{rsa}");
        let private = std::str::from_utf8(P256).unwrap();
        let private = text(PublicKey::parse(private, "p256.pem").unwrap_err());
        assert!(private.contains("-pubout"), "{private}");
        for damaged in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(matches!(
                PublicKey::parse(damaged, "x"),
                Err(KeyError::NoPublicKey { .. })
            ));
        }
    }
}
