//! The private keys in a file: RSA and the three curves of NIST, as PEM or DER, in PKCS#8 or the older forms.

use p256::pkcs8::DecodePrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;

/// A private key.
pub(crate) enum PrivateKey {
    Rsa(Box<rsa::PrivateKey>),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    P521(p521::SecretKey),
}

/// The bodies of PEM that are read.
const PKCS8: &str = "PRIVATE KEY";
const PKCS1: &str = "RSA PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";

/// What to type for a key that asks for a passphrase.
const ENCRYPTED: &str =
    "it is encrypted with a passphrase; write it without one: `openssl pkey -in FILE -out NEW-FILE`";

impl PrivateKey {
    /// The key in a file's bytes. The error says why there is none, and what to do.
    pub(crate) fn parse(bytes: &[u8]) -> Result<PrivateKey, String> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN ") => PrivateKey::pem(text),
            Ok(text) if text.trim_start().starts_with('{') => {
                Err("it is a JSON web key, which is not read; it must be PEM or DER".to_owned())
            }
            _ => PrivateKey::der(bytes),
        }
    }

    /// The first private key in a text; parameters of a curve and certificates may stand around it.
    fn pem(text: &str) -> Result<PrivateKey, String> {
        let mut rest = text;
        let mut seen = Vec::new();
        while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
            let Some((label, after)) = begun.split_once("-----") else {
                break;
            };
            let end = format!("-----END {label}-----");
            let Some((body, after)) = after.split_once(&end) else {
                return Err(format!("its {label:?} has no end"));
            };
            if label == "ENCRYPTED PRIVATE KEY" || body.contains("ENCRYPTED") {
                return Err(ENCRYPTED.to_owned());
            }
            if matches!(label, PKCS8 | PKCS1 | SEC1) {
                let whole = format!("-----BEGIN {label}-----{body}{end}\n");
                return PrivateKey::labelled(label, &whole);
            }
            seen.push(label);
            rest = after;
        }
        let found = match seen.first() {
            Some(label) => format!("it holds a {:?}", label.to_ascii_lowercase()),
            None => "it is cut off".to_owned(),
        };
        Err(format!(
            "{found}; a private key is wanted, of RSA or of P-256, P-384 or P-521"
        ))
    }

    fn labelled(label: &str, pem: &str) -> Result<PrivateKey, String> {
        let damaged = |error: &dyn std::fmt::Display| format!("it cannot be decoded: {error}");
        let document = p256::pkcs8::SecretDocument::from_pem(pem).map_err(|error| damaged(&error))?;
        let der = document.1.as_bytes();
        match label {
            PKCS1 => rsa::PrivateKey::from_pkcs1_der(der)
                .map(PrivateKey::rsa)
                .map_err(|error| damaged(&error)),
            SEC1 => PrivateKey::sec1(der).ok_or_else(|| OTHER_KEY.to_owned()),
            _ => PrivateKey::pkcs8(der).ok_or_else(|| OTHER_KEY.to_owned()),
        }
    }

    fn der(bytes: &[u8]) -> Result<PrivateKey, String> {
        let key = PrivateKey::pkcs8(bytes)
            .or_else(|| rsa::PrivateKey::from_pkcs1_der(bytes).ok().map(PrivateKey::rsa))
            .or_else(|| PrivateKey::sec1(bytes));
        key.ok_or_else(|| OTHER_KEY.to_owned())
    }

    fn pkcs8(der: &[u8]) -> Option<PrivateKey> {
        let rsa = rsa::PrivateKey::from_pkcs8_der(der).ok().map(PrivateKey::rsa);
        rsa.or_else(|| p256::SecretKey::from_pkcs8_der(der).ok().map(PrivateKey::P256))
            .or_else(|| p384::SecretKey::from_pkcs8_der(der).ok().map(PrivateKey::P384))
            .or_else(|| p521::SecretKey::from_pkcs8_der(der).ok().map(PrivateKey::P521))
    }

    fn sec1(der: &[u8]) -> Option<PrivateKey> {
        let key = p256::SecretKey::from_sec1_der(der).ok().map(PrivateKey::P256);
        key.or_else(|| p384::SecretKey::from_sec1_der(der).ok().map(PrivateKey::P384))
            .or_else(|| p521::SecretKey::from_sec1_der(der).ok().map(PrivateKey::P521))
    }

    fn rsa(key: rsa::PrivateKey) -> PrivateKey {
        PrivateKey::Rsa(Box::new(key))
    }
}

/// What is said of sound bytes that are another key's.
const OTHER_KEY: &str = "it is neither a key of RSA (2048 to 8192 bits) nor of P-256, P-384 or P-521";
