//! ECDH-ES (RFC 7518, section 4.6): both sides compute a secret, of which the content key is derived, or a key that wraps it.

use aes_kw::{AesKw, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::content::Encryption;
use super::{Header, decode, malformed};
use crate::error::UnwrapError;
use crate::private::PrivateKey;

/// The sender's public key, made for this message.
#[derive(Clone, Deserialize)]
pub(super) struct EphemeralKey {
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl EphemeralKey {
    pub(super) fn curve(&self) -> &str {
        &self.crv
    }

    /// As a point without compression, whose coordinates have `length` bytes.
    fn point(&self, length: usize) -> Result<Vec<u8>, UnwrapError> {
        let mut point = vec![4];
        for text in [&self.x, &self.y] {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok();
            let bytes = bytes.filter(|bytes| bytes.len() <= length);
            let bytes =
                bytes.ok_or_else(|| malformed("its ephemeral key has no coordinates of its curve"))?;
            point.resize(point.len() + length - bytes.len(), 0);
            point.extend(bytes);
        }
        Ok(point)
    }
}

/// AES with which the content key is wrapped.
#[derive(Clone, Copy)]
pub(super) enum KeyWrap {
    A128,
    A192,
    A256,
}

impl KeyWrap {
    fn bytes(self) -> usize {
        match self {
            KeyWrap::A128 => 16,
            KeyWrap::A192 => 24,
            KeyWrap::A256 => 32,
        }
    }

    /// What was wrapped, or nothing if it was not with this key.
    fn unwrap(self, key: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(vec![0; wrapped.len()]);
        let length = match self {
            KeyWrap::A128 => AesKw::<aes_kw::aes::Aes128>::new_from_slice(key)
                .ok()?
                .unwrap_key(wrapped, &mut out),
            KeyWrap::A192 => AesKw::<aes_kw::aes::Aes192>::new_from_slice(key)
                .ok()?
                .unwrap_key(wrapped, &mut out),
            KeyWrap::A256 => AesKw::<aes_kw::aes::Aes256>::new_from_slice(key)
                .ok()?
                .unwrap_key(wrapped, &mut out),
        };
        let length = length.ok()?.len();
        out.truncate(length);
        Some(out)
    }
}

/// The content key, if `key` is on the curve of the sender's and is the one that was meant.
pub(super) fn content_key(
    key: &PrivateKey,
    header: &Header,
    wrap: Option<KeyWrap>,
    encryption: &Encryption,
    wrapped: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, UnwrapError> {
    let ephemeral = header
        .epk
        .as_ref()
        .ok_or_else(|| malformed("it has no ephemeral key, which ECDH-ES needs"))?;
    let Some(secret) = secret(key, ephemeral)? else {
        return Ok(None);
    };
    let (name, length) = match wrap {
        Some(wrap) => (header.alg.as_deref(), wrap.bytes()),
        None => (header.enc.as_deref(), encryption.key_bytes()),
    };
    let derived = derive(&secret, name.unwrap_or_default(), header, length)?;
    match wrap {
        Some(wrap) => Ok(wrap.unwrap(&derived, wrapped)),
        // Nothing tells this early whether it is the one; the content does.
        None if !wrapped.is_empty() => Err(malformed("ECDH-ES has no wrapped key, and there is one")),
        None => Ok(Some(derived)),
    }
}

/// What both sides compute. Nothing if the curves differ.
fn secret(key: &PrivateKey, ephemeral: &EphemeralKey) -> Result<Option<Zeroizing<Vec<u8>>>, UnwrapError> {
    let no_point = |_| malformed("its ephemeral key is not on its curve");
    let raw = match (key, ephemeral.crv.as_str()) {
        (PrivateKey::P256(key), "P-256") => {
            let theirs = p256::PublicKey::from_sec1_bytes(&ephemeral.point(32)?).map_err(no_point)?;
            key.diffie_hellman(&theirs).raw_secret_bytes().to_vec()
        }
        (PrivateKey::P384(key), "P-384") => {
            let theirs = p384::PublicKey::from_sec1_bytes(&ephemeral.point(48)?).map_err(no_point)?;
            key.diffie_hellman(&theirs).raw_secret_bytes().to_vec()
        }
        (PrivateKey::P521(key), "P-521") => {
            let theirs = p521::PublicKey::from_sec1_bytes(&ephemeral.point(66)?).map_err(no_point)?;
            key.diffie_hellman(&theirs).raw_secret_bytes().to_vec()
        }
        _ => return Ok(None),
    };
    Ok(Some(Zeroizing::new(raw)))
}

/// The Concat KDF of NIST SP 800-56A with SHA-256, as RFC 7518 has it.
fn derive(
    secret: &[u8],
    algorithm: &str,
    header: &Header,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let party = |name: &str, text: &Option<String>| decode(name, text.as_deref().unwrap_or_default());
    let (sender, receiver) = (party("apu", &header.apu)?, party("apv", &header.apv)?);
    let mut derived = Zeroizing::new(Vec::with_capacity(64));
    for round in 1u32.. {
        if derived.len() >= length {
            break;
        }
        let mut hash = Context::new(&SHA256);
        hash.update(&round.to_be_bytes());
        hash.update(secret);
        for field in [algorithm.as_bytes(), &sender, &receiver] {
            hash.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(field);
        }
        let bits = u32::try_from(length * 8).unwrap_or(u32::MAX);
        hash.update(&bits.to_be_bytes());
        derived.extend_from_slice(hash.finish().as_ref());
    }
    derived.truncate(length);
    Ok(derived)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    /// RFC 7518, appendix C.
    #[test]
    fn the_derivation_is_that_of_the_specification() {
        let private = URL_SAFE_NO_PAD
            .decode("VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw")
            .unwrap();
        let key = PrivateKey::P256(p256::SecretKey::from_slice(&private).unwrap());
        let text = r#"{"alg":"ECDH-ES","enc":"A128GCM","apu":"QWxpY2U","apv":"Qm9i","epk":{"kty":"EC","crv":"P-256",
            "x":"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0","y":"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"}}"#;
        let header: Header = serde_json::from_str(text).unwrap();
        let encryption = Encryption::named("A128GCM").unwrap();
        let derived = content_key(&key, &header, None, &encryption, b"")
            .unwrap()
            .unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(&derived), "VqqN6vgjbSBcIijNcacQGg");
    }
}
