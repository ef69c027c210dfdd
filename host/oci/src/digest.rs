//! Digests: `<algorithm>:<hex>`, after the image specification's "Digests" section.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::Hasher;

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the canonical one.
    Sha256,
    /// SHA-384, accepted as containerd accepts it.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in the order of their names.
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    /// The name before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Hexadecimal characters after the colon.
    pub fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha384 => 96,
            Algorithm::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(name: &str) -> Result<Self, DigestError> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| DigestError::Algorithm { name: shorten(name) })
    }
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon between algorithm and value.
    #[error("invalid digest {text:?}: want <algorithm>:<hex>, such as sha256:0123…")]
    Format {
        /// What was given, shortened.
        text: String,
    },
    /// The algorithm is not one of [`Algorithm::ALL`].
    #[error("unsupported digest algorithm {name:?}: use sha256, sha384 or sha512")]
    Algorithm {
        /// What was given, shortened.
        name: String,
    },
    /// The value has the wrong length or characters.
    #[error("invalid {algorithm} digest value: want {} lower-case hexadecimal characters", algorithm.hex_len())]
    Value {
        /// The algorithm whose value it should be.
        algorithm: Algorithm,
    },
}

fn shorten(text: &str) -> String {
    const SHOWN_MAX: usize = 160;
    text.chars().take(SHOWN_MAX).collect()
}

/// The name of a blob: an algorithm and the hash of its bytes, always valid.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    /// The whole text; the algorithm's name is a prefix of it.
    text: String,
    algorithm: Algorithm,
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    pub(crate) fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Digest {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let name = algorithm.as_str();
        let mut text = String::with_capacity(name.len() + 1 + 2 * raw.len());
        text.push_str(name);
        text.push(':');
        for byte in raw {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Digest { text, algorithm }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The lower-case hexadecimal value, safe as a file name.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Algorithm and the first twelve characters, for people.
    pub fn short(&self) -> &str {
        const SHOWN: usize = 12;
        &self.text[..self.algorithm.as_str().len() + 1 + SHOWN]
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let (name, value) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Format { text: shorten(text) })?;
        let algorithm: Algorithm = name.parse()?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if value.len() != algorithm.hex_len() || !value.bytes().all(hex) {
            return Err(DigestError::Value { algorithm });
        }
        Ok(Digest {
            text: text.to_owned(),
            algorithm,
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn reads_and_writes_its_text() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest, Digest::of(Algorithm::Sha256, b""));
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(digest.hex().len(), 64);
        assert_eq!(digest.short(), "sha256:e3b0c44298fc");
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("{EMPTY:?}"));
        assert_eq!(
            serde_json::from_str::<Digest>(&format!("{EMPTY:?}")).unwrap(),
            digest
        );
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../x",
            "md5:00",
            &EMPTY[..70],
            &upper,
            &format!("{EMPTY}0"),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Digest>("\"sha256:zz\"").is_err());
    }
}
