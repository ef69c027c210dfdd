//! Keys, and which signatures they check. ring does the arithmetic; that of P-521, which it does not have, RustCrypto.

use p521::ecdsa::signature::Verifier;
use p521::ecdsa::{Signature, VerifyingKey};
use ring::digest::{SHA256, digest};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::der;

/// How a token may be signed (RFC 7518, section 3.1; RFC 8037). Neither `none`, nor anything with a shared secret.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the standard")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

/// What a key is of. It belongs to the key, never to the token: so no token can have a key taken for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) kind: Kind,
    /// An RSA key in DER, a point, or the 32 bytes of Ed25519.
    pub(super) bits: Vec<u8>,
    /// The only algorithm it is for, if it says so.
    pub(super) only: Option<Algorithm>,
}

impl Algorithm {
    /// All that are known.
    pub const ALL: [(&'static str, Algorithm); 10] = [
        ("RS256", Algorithm::RS256),
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("ES512", Algorithm::ES512),
        ("EdDSA", Algorithm::EdDSA),
    ];

    /// The algorithm of a name, which is spelt exactly so.
    #[must_use]
    pub fn of(name: &str) -> Option<Algorithm> {
        let found = Algorithm::ALL.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, algorithm)| algorithm)
    }
}

impl Key {
    /// The key of a SubjectPublicKeyInfo.
    pub(super) fn of_info(info: &[u8]) -> Option<Key> {
        let (kind, bits) = der::public_key(info)?;
        Some(Key {
            kind,
            bits,
            only: None,
        })
    }

    /// Whether this key made this signature of this message.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.only.is_some_and(|only| only != algorithm) {
            return false;
        }
        if (self.kind, algorithm) == (Kind::P521, Algorithm::ES512) {
            return self.verify_p521(message, signature).is_some();
        }
        let checked = how(self.kind, algorithm)
            .map(|how| UnparsedPublicKey::new(how, &self.bits).verify(message, signature));
        matches!(checked, Some(Ok(())))
    }

    fn verify_p521(&self, message: &[u8], signature: &[u8]) -> Option<()> {
        // Uncompressed, as ring wants the others, too.
        let point = Some(&self.bits).filter(|bits| bits.first() == Some(&4))?;
        let key = VerifyingKey::from_sec1_bytes(point).ok()?;
        key.verify(message, &Signature::from_slice(signature).ok()?).ok()
    }

    /// The ids that a token may name it by without anybody having given it one: its thumbprint (RFC 7638), as docker-registry
    /// 3 has it, and libtrust's, which docker-registry 2 and the token servers of its time have.
    pub(super) fn ids(&self) -> [String; 2] {
        [self.thumbprint(), self.libtrust()]
    }

    fn thumbprint(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = |curve: &str| {
            let (x, y) = self
                .bits
                .get(1..)
                .unwrap_or_default()
                .split_at(self.bits.len() / 2);
            format!(
                r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#,
                text(x),
                text(y)
            )
        };
        let members = match self.kind {
            Kind::Rsa => {
                let (modulus, exponent) = der::rsa_numbers(&self.bits).unwrap_or_default();
                format!(
                    r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
                    text(exponent),
                    text(modulus)
                )
            }
            Kind::P256 => point("P-256"),
            Kind::P384 => point("P-384"),
            Kind::P521 => point("P-521"),
            Kind::Ed25519 => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(&self.bits)),
        };
        text(digest(&SHA256, members.as_bytes()).as_ref())
    }

    /// The first 240 bits of the hash of the key in DER, in Base32 with a colon after each four letters.
    fn libtrust(&self) -> String {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let hash = digest(&SHA256, &der::info(self.kind, &self.bits));
        let letters: Vec<char> = hash.as_ref()[..30]
            .chunks(5)
            .flat_map(|five| {
                let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
                (0..8)
                    .rev()
                    .map(move |place| char::from(LETTERS[(bits >> (place * 5) & 31) as usize]))
            })
            .collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        groups.join(":")
    }
}

/// ring's algorithm; none if a key of this kind does not sign so.
fn how(kind: Kind, algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (kind, algorithm) {
        (Kind::Rsa, Algorithm::RS256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (Kind::Rsa, Algorithm::RS384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (Kind::Rsa, Algorithm::RS512) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (Kind::Rsa, Algorithm::PS256) => &signature::RSA_PSS_2048_8192_SHA256,
        (Kind::Rsa, Algorithm::PS384) => &signature::RSA_PSS_2048_8192_SHA384,
        (Kind::Rsa, Algorithm::PS512) => &signature::RSA_PSS_2048_8192_SHA512,
        (Kind::P256, Algorithm::ES256) => &signature::ECDSA_P256_SHA256_FIXED,
        (Kind::P384, Algorithm::ES384) => &signature::ECDSA_P384_SHA384_FIXED,
        (Kind::Ed25519, Algorithm::EdDSA) => &signature::ED25519,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.4.
    const X: &str =
        "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk";
    const Y: &str =
        "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2";
    const SIGNED: &[u8] = b"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA";
    const SIGNATURE: &str = concat!(
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8Kp",
        "EHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
    );

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn key(bits: Vec<u8>) -> Key {
        let (kind, only) = (Kind::P521, None);
        Key { kind, bits, only }
    }

    #[test]
    fn p521_checks_what_the_standard_has_and_nothing_else() {
        let (point, signature) = ([vec![4], bytes(X), bytes(Y)].concat(), bytes(SIGNATURE));
        let checks = |bits: &[u8], message: &[u8], signature: &[u8]| {
            key(bits.to_vec()).verify(Algorithm::ES512, message, signature)
        };
        assert!(checks(&point, SIGNED, &signature));
        assert!(!checks(&point, b"another", &signature));
        for at in [0, 1, 65, 66, 131] {
            let mut other = signature.clone();
            other[at] ^= 1;
            assert!(!checks(&point, SIGNED, &other), "{at}");
            let mut other = point.clone();
            other[at] ^= 1;
            assert!(!checks(&other, SIGNED, &signature), "{at}");
        }
        for length in [0, 64, 131] {
            assert!(!checks(&point, SIGNED, &signature[..length]), "{length}");
            assert!(!checks(&point[..length], SIGNED, &signature), "{length}");
        }
        assert!(!checks(&point, SIGNED, &[0; 132]));
        assert!(!checks(&point, SIGNED, &[0xff; 132]));
        // The same point, compressed.
        let compressed = [&[2 | point[132] & 1], &point[1..67]].concat();
        assert!(VerifyingKey::from_sec1_bytes(&compressed).is_ok());
        assert!(!checks(&compressed, SIGNED, &signature));
        for (_, other) in Algorithm::ALL {
            let is_it = other == Algorithm::ES512;
            assert_eq!(key(point.clone()).verify(other, SIGNED, &signature), is_it);
        }
    }
}
