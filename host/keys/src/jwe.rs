//! JSON Web Encryption (RFC 7516), general and flattened: a content key wrapped for each recipient, and a text under it.
//!
//! Of the algorithms (RFC 7518) those are read with which images are encrypted: RSA-OAEP, RSA-OAEP-256, ECDH-ES with and
//! without key wrapping; AES-GCM for the content. RSA1_5 is left out on purpose: it tells an attacker about the key.

mod agreement;
mod content;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::sha2::Sha256;
use serde::Deserialize;
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::error::UnwrapError;
use crate::limits::RECIPIENTS_MAX;
use crate::private::PrivateKey;
use agreement::{EphemeralKey, KeyWrap};
use content::Encryption;

/// A message. Programs that write one recipient leave `recipients` out, and some write both: then it counts.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    protected: String,
    #[serde(default)]
    unprotected: Header,
    #[serde(default)]
    header: Header,
    #[serde(default)]
    encrypted_key: String,
    #[serde(default)]
    recipients: Vec<Recipient>,
    #[serde(default)]
    iv: String,
    ciphertext: String,
    #[serde(default)]
    tag: String,
    #[serde(default)]
    aad: Option<String>,
}

/// For whom it is.
#[derive(Deserialize)]
struct Recipient {
    #[serde(default)]
    header: Header,
    #[serde(default)]
    encrypted_key: String,
}

/// What is said about a recipient, or about all of them. Other members say nothing about how to open it.
#[derive(Clone, Default, Deserialize)]
struct Header {
    alg: Option<String>,
    enc: Option<String>,
    zip: Option<String>,
    crit: Option<serde_json::Value>,
    epk: Option<EphemeralKey>,
    apu: Option<String>,
    apv: Option<String>,
}

/// How the content key reached a recipient.
enum Algorithm {
    RsaOaep,
    RsaOaep256,
    Agreed(Option<KeyWrap>),
}

/// Opens a message with the first key that fits.
pub(crate) fn open(bytes: &[u8], keys: &[PrivateKey]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let message: Message =
        serde_json::from_slice(bytes).map_err(|error| malformed(format!("it is no JWE in JSON: {error}")))?;
    let protected = match message.protected.as_str() {
        "" => Header::default(),
        text => serde_json::from_slice(&decode("protected", text)?)
            .map_err(|error| malformed(format!("its protected header: {error}")))?,
    };
    let recipients = message.recipients();
    if recipients.len() > RECIPIENTS_MAX {
        return Err(malformed(format!("it has more than {RECIPIENTS_MAX} recipients")));
    }
    let mut wanted = Vec::new();
    for recipient in recipients {
        let header = protected.over(&message.unprotected).over(&recipient.header);
        let encryption = header.encryption()?;
        let algorithm = match header.algorithm() {
            Ok(algorithm) => algorithm,
            // Another recipient may be one of ours.
            Err(text) => {
                wanted.push(text);
                continue;
            }
        };
        let wrapped = decode("encrypted_key", &recipient.encrypted_key)?;
        for key in keys {
            let Some(content_key) = algorithm.content_key(key, &header, &encryption, &wrapped)? else {
                continue;
            };
            match message.text(&encryption, &content_key) {
                // Only the content tells that another key was agreed on.
                Err(UnwrapError::Malformed(_)) if algorithm.is_direct() => {}
                opened => return opened,
            }
        }
        wanted.push(algorithm.wanted(&header));
    }
    wanted.dedup();
    if wanted.iter().all(|text| text.starts_with(NOT_KNOWN)) {
        return Err(UnwrapError::Unsupported(format!(
            "the key was wrapped with what is not known here: {}",
            wanted.join(", ")
        )));
    }
    Err(UnwrapError::NoKey {
        tried: keys.len(),
        reason: format!("it is for {}", wanted.join(", ")),
    })
}

impl Message {
    fn recipients(&self) -> Vec<Recipient> {
        if !self.recipients.is_empty() {
            let copy = |recipient: &Recipient| Recipient {
                header: recipient.header.clone(),
                encrypted_key: recipient.encrypted_key.clone(),
            };
            return self.recipients.iter().map(copy).collect();
        }
        vec![Recipient {
            header: self.header.clone(),
            encrypted_key: self.encrypted_key.clone(),
        }]
    }

    /// The text under the content key.
    fn text(&self, encryption: &Encryption, key: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        let associated = match &self.aad {
            Some(aad) => format!("{}.{aad}", self.protected),
            None => self.protected.clone(),
        };
        let [iv, ciphertext, tag] = [
            decode("iv", &self.iv)?,
            decode("ciphertext", &self.ciphertext)?,
            decode("tag", &self.tag)?,
        ];
        encryption
            .open(key, &iv, associated.as_bytes(), ciphertext, &tag)
            .ok_or_else(|| malformed("a key opens it, but what is in it was changed"))
    }
}

impl Header {
    /// What this header says, and where it says nothing, the other one.
    fn over(&self, other: &Header) -> Header {
        let (ours, theirs) = (self.clone(), other.clone());
        Header {
            alg: ours.alg.or(theirs.alg),
            enc: ours.enc.or(theirs.enc),
            zip: ours.zip.or(theirs.zip),
            crit: ours.crit.or(theirs.crit),
            epk: ours.epk.or(theirs.epk),
            apu: ours.apu.or(theirs.apu),
            apv: ours.apv.or(theirs.apv),
        }
    }

    fn encryption(&self) -> Result<Encryption, UnwrapError> {
        if self.zip.is_some() || self.crit.is_some() {
            let text = "the wrapped key is compressed, or has critical extensions: neither is known here";
            return Err(UnwrapError::Unsupported(text.to_owned()));
        }
        let name = self.enc.as_deref().unwrap_or_default();
        Encryption::named(name).ok_or_else(|| {
            UnwrapError::Unsupported(format!(
                "the wrapped key is encrypted with {:?}; A128GCM and A256GCM are known here",
                shown(name)
            ))
        })
    }

    /// The algorithm, or what to say of one that is not known.
    fn algorithm(&self) -> Result<Algorithm, String> {
        Ok(match self.alg.as_deref().unwrap_or_default() {
            "RSA-OAEP" => Algorithm::RsaOaep,
            "RSA-OAEP-256" => Algorithm::RsaOaep256,
            "ECDH-ES" => Algorithm::Agreed(None),
            "ECDH-ES+A128KW" => Algorithm::Agreed(Some(KeyWrap::A128)),
            "ECDH-ES+A192KW" => Algorithm::Agreed(Some(KeyWrap::A192)),
            "ECDH-ES+A256KW" => Algorithm::Agreed(Some(KeyWrap::A256)),
            other => return Err(format!("{NOT_KNOWN}{:?}", shown(other))),
        })
    }
}

/// How the text on an algorithm that is not known begins.
const NOT_KNOWN: &str = "the algorithm ";

impl Algorithm {
    /// The content key, if this private key is the one.
    fn content_key(
        &self,
        key: &PrivateKey,
        header: &Header,
        encryption: &Encryption,
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, UnwrapError> {
        let opened = match (self, key) {
            (Algorithm::RsaOaep, PrivateKey::Rsa(key)) => key.oaep_decrypt::<Sha1>(wrapped).ok(),
            (Algorithm::RsaOaep256, PrivateKey::Rsa(key)) => key.oaep_decrypt::<Sha256>(wrapped).ok(),
            (Algorithm::Agreed(wrap), key) => {
                return agreement::content_key(key, header, *wrap, encryption, wrapped);
            }
            (_, _) => None,
        };
        Ok(opened.map(Zeroizing::new))
    }

    /// Whether the content key itself was agreed on.
    fn is_direct(&self) -> bool {
        matches!(self, Algorithm::Agreed(None))
    }

    /// For whom it is, for people.
    fn wanted(&self, header: &Header) -> String {
        match self {
            Algorithm::RsaOaep | Algorithm::RsaOaep256 => "an RSA key".to_owned(),
            Algorithm::Agreed(_) => {
                let curve = header
                    .epk
                    .as_ref()
                    .map_or("an unknown curve", EphemeralKey::curve);
                format!("a key of {}", shown(curve))
            }
        }
    }
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, UnwrapError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| malformed(format!("its {what} is not base64url: {error}")))
}

fn malformed(text: impl Into<String>) -> UnwrapError {
    UnwrapError::Malformed(text.into())
}

/// As much of a stranger's text as a message needs.
fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}
