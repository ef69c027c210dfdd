//! Keys, and which signatures they check. ring does the arithmetic.

use ring::digest::{SHA256, digest};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::der;

/// How a token may be signed (RFC 7518, section 3.1; RFC 8037). Neither `none`, nor anything with a shared secret; ring has no
/// `ES512`.
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
    EdDSA,
}

/// What a key is of. It belongs to the key, never to the token: so no token can have a key taken for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rsa,
    P256,
    P384,
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
    pub const ALL: [(&'static str, Algorithm); 9] = [
        ("RS256", Algorithm::RS256),
        ("RS384", Algorithm::RS384),
        ("RS512", Algorithm::RS512),
        ("PS256", Algorithm::PS256),
        ("PS384", Algorithm::PS384),
        ("PS512", Algorithm::PS512),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
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
        let checked = how(self.kind, algorithm)
            .map(|how| UnparsedPublicKey::new(how, &self.bits).verify(message, signature));
        matches!(checked, Some(Ok(())))
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
