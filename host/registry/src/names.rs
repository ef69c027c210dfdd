//! What may be called what: repositories, tags, references (OCI distribution specification, "Pulling manifests").

use std::fmt;
use std::str::FromStr;

use transom_oci::Digest;

/// The most bytes that a repository's name may have. Many clients allow 255 for host and name together.
pub const REPOSITORY_NAME_BYTES: usize = 255;

/// The most bytes that a tag may have.
pub const TAG_BYTES: usize = 128;

/// The name of a repository: parts of lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`, and
/// separated by `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(String);

/// A tag: a letter, digit or `_`, then up to 127 of those, `.` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By its tag.
    Tag(Tag),
    /// By its digest.
    Digest(Digest),
}

/// Why something is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not the name of a repository.
    #[error(
        "{0:?} is not the name of a repository: use lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\", and \"/\" \
         between parts, at most {REPOSITORY_NAME_BYTES} bytes"
    )]
    Repository(String),
    /// Not a tag.
    #[error(
        "{0:?} is not a tag: use letters, digits, \"_\", \".\" and \"-\", not beginning with \".\" or \"-\", at most {TAG_BYTES}"
    )]
    Tag(String),
    /// Looks like a digest and is not one.
    #[error("{text:?} is not a digest: {reason}")]
    Digest {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// How much of a wrong name is repeated in an error.
const SHOWN_BYTES: usize = 100;

fn shown(text: &str) -> String {
    let mut end = text.len().min(SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

impl RepositoryName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError::Repository`].
    pub fn new(name: &str) -> Result<RepositoryName, NameError> {
        let fits = name.len() <= REPOSITORY_NAME_BYTES && name.split('/').all(is_part);
        if fits {
            Ok(RepositoryName(name.to_owned()))
        } else {
            Err(NameError::Repository(shown(name)))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_part(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    ends && bytes
        .chunk_by(|&a, &b| word(a) == word(b))
        .all(|run| word(run[0]) || matches!(run, b"." | b"_" | b"__") || run.iter().all(|&byte| byte == b'-'))
}

impl Tag {
    /// Checks a tag.
    ///
    /// # Errors
    /// [`NameError::Tag`].
    pub fn new(tag: &str) -> Result<Tag, NameError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = tag.as_bytes();
        let fits = bytes.len() <= TAG_BYTES
            && bytes.first().copied().is_some_and(word)
            && bytes
                .iter()
                .all(|&byte| word(byte) || matches!(byte, b'.' | b'-'));
        if fits {
            Ok(Tag(tag.to_owned()))
        } else {
            Err(NameError::Tag(shown(tag)))
        }
    }

    /// The tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = NameError;

    /// A digest if there is a `:` in it, which no tag has; else a tag.
    fn from_str(text: &str) -> Result<Reference, NameError> {
        if !text.contains(':') {
            return Tag::new(text).map(Reference::Tag);
        }
        text.parse()
            .map(Reference::Digest)
            .map_err(|error: transom_oci::DigestError| NameError::Digest {
                text: shown(text),
                reason: error.to_string(),
            })
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => f.write_str(digest.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        for name in [
            "a",
            "0",
            "library/debian",
            "a.b",
            "a_b",
            "a__b",
            "a-b",
            "a---b",
            "a/b/c/d",
            "a.b_c__d-e--f/0",
        ] {
            assert_eq!(RepositoryName::new(name).unwrap().as_str(), name);
        }
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a.",
            ".a",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "a/-b",
            "_manifests",
            "a/_b",
            "..",
            "a/../b",
            "a b",
            "a%2fb",
            "ä",
            "a\0",
            "a:b",
            "a@b",
        ] {
            assert_eq!(
                RepositoryName::new(name),
                Err(NameError::Repository(name.to_owned()))
            );
        }
        assert!(RepositoryName::new(&"a".repeat(255)).is_ok());
        assert!(RepositoryName::new(&"a".repeat(256)).is_err());
        let NameError::Repository(short) = RepositoryName::new(&"ä".repeat(10_000)).unwrap_err() else {
            panic!()
        };
        assert_eq!(short, "ä".repeat(50));
    }

    #[test]
    fn references() {
        for tag in ["latest", "_", "1.0", "A-b.C_d", &"a".repeat(128)] {
            assert_eq!(
                tag.parse::<Reference>().unwrap(),
                Reference::Tag(Tag::new(tag).unwrap())
            );
        }
        for tag in ["", ".a", "-a", "a/b", "a b", "ä", "a\n", "..", &"a".repeat(129)] {
            assert!(
                matches!(tag.parse::<Reference>(), Err(NameError::Tag(_))),
                "{tag}"
            );
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(digest.parse::<Reference>().unwrap().to_string(), digest);
        for digest in [
            "sha256:",
            "sha256:00",
            "md5:00",
            "a:b",
            &format!("sha256:{}", "A".repeat(64)),
        ] {
            assert!(
                matches!(digest.parse::<Reference>(), Err(NameError::Digest { .. })),
                "{digest}"
            );
        }
    }
}
