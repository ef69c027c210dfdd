//! A token server's part: keys, and tokens that are signed with them.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p521::ecdsa::signature::Signer;
use p521::ecdsa::{Signature, SigningKey};
use p521::elliptic_curve::Generate;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

/// A key of the token server.
pub(crate) enum Key {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding, &'static str),
    Ecdsa(EcdsaKeyPair, &'static str),
    P521(SigningKey),
    Ed25519(Ed25519KeyPair),
}

pub(crate) fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry/keys");
    folder.join(name)
}

pub(crate) fn private(name: &str) -> Vec<u8> {
    let key = PrivatePkcs8KeyDer::from_pem_file(file(name)).unwrap();
    key.secret_pkcs8_der().to_vec()
}

pub(crate) fn certificate(name: &str) -> String {
    STANDARD.encode(CertificateDer::from_pem_file(file(name)).unwrap())
}

impl Key {
    pub(crate) fn rsa(encoding: &'static dyn RsaEncoding, algorithm: &'static str) -> Key {
        Key::Rsa(
            RsaKeyPair::from_pkcs8(&private("rsa.pem")).unwrap(),
            encoding,
            algorithm,
        )
    }

    pub(crate) fn ecdsa(
        curve: &'static ring::signature::EcdsaSigningAlgorithm,
        algorithm: &'static str,
    ) -> Key {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        Key::Ecdsa(
            EcdsaKeyPair::from_pkcs8(curve, pair.as_ref(), &random).unwrap(),
            algorithm,
        )
    }

    pub(crate) fn p256() -> Key {
        Key::ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, "ES256")
    }

    pub(crate) fn p521() -> Key {
        Key::P521(SigningKey::generate())
    }

    pub(crate) fn leaf() -> Key {
        let (curve, pair) = (&ECDSA_P256_SHA256_FIXED_SIGNING, private("leaf.pem"));
        Key::Ecdsa(
            EcdsaKeyPair::from_pkcs8(curve, &pair, &SystemRandom::new()).unwrap(),
            "ES256",
        )
    }

    pub(crate) fn ed25519() -> Key {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Key::Ed25519(Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap())
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Key::Rsa(_, _, algorithm) | Key::Ecdsa(_, algorithm) => algorithm,
            Key::P521(_) => "ES512",
            Key::Ed25519(_) => "EdDSA",
        }
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Key::Rsa(pair, ..) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "kid": kid, "use": "sig",
                    "n": text(&public.n),
                    "e": text(&public.e)})
            }
            Key::Ecdsa(pair, algorithm) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if *algorithm == "ES256" { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "kid": kid, "x": text(x), "y": text(y)})
            }
            Key::P521(pair) => {
                let point = pair.verifying_key().to_sec1_point(false);
                let (x, y) = point.as_bytes()[1..].split_at(66);
                json!({"kty": "EC", "crv": "P-521", "kid": kid, "x": text(x), "y": text(y)})
            }
            Key::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(pair.public_key().as_ref())})
            }
        }
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let random = SystemRandom::new();
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", text(header), text(claims));
        let message = signed.as_bytes();
        let signature = match self {
            Key::Rsa(pair, encoding, _) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Ecdsa(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::P521(pair) => {
                let signature: Signature = pair.sign(message);
                signature.to_bytes().to_vec()
            }
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token that is as it should be, for `team/app`.
    pub(crate) fn token(&self, kid: &str) -> String {
        self.sign(
            &json!({"typ": "JWT", "alg": self.algorithm(), "kid": kid}),
            &claims(),
        )
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn claims() -> Value {
    json!({
        "iss": "auth.example", "sub": "alice", "aud": "registry.example",
        "exp": now() + 300, "nbf": now(), "iat": now(), "jti": "1",
        "access": [{"type": "repository", "name": "team/app", "actions": ["pull", "push"]}],
    })
}

/// `claims` with one of them changed.
pub(crate) fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}
