//! What may be called what: identifiers, labels, limits on both.

use std::collections::BTreeMap;
use std::fmt;

use transom_oci::{Digest, DigestError};

use crate::limits::{LABEL_BYTES, NAME_BYTES, NAMESPACE_BYTES};
use crate::{Error, error};

/// Labels of an object, in the order of their keys. Empty values are not stored.
pub type Labels = BTreeMap<String, String>;

/// The name of a namespace: a checked identifier.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(std::sync::Arc<str>);

impl Namespace {
    /// Checks a name by containerd's rule: letters and digits, single `.`, `_` or `-` between them, at most 76 bytes.
    ///
    /// # Errors
    /// [`Error::Identifier`].
    pub fn new(name: &str) -> Result<Namespace, Error> {
        identifier(name)?;
        Ok(Namespace(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// On whose behalf something is done: every operation in a namespace begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The namespace.
    pub namespace: Namespace,
    /// The lease that keeps what is created or found, if the request names one. It must exist for a write.
    pub lease: Option<String>,
}

impl Caller {
    /// A caller without a lease.
    #[must_use]
    pub fn new(namespace: Namespace) -> Caller {
        Caller {
            namespace,
            lease: None,
        }
    }

    /// The same caller with a lease.
    #[must_use]
    pub fn with_lease(self, lease: impl Into<String>) -> Caller {
        Caller {
            lease: Some(lease.into()),
            ..self
        }
    }
}

/// Checks an identifier: `^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$`, at most 76 bytes.
///
/// # Errors
/// [`Error::Identifier`].
pub fn identifier(name: &str) -> Result<(), Error> {
    let fail = |reason| {
        Err(Error::Identifier {
            name: name.to_owned(),
            reason,
        })
    };
    if name.is_empty() {
        return fail(error::IdentifierFault::Empty);
    }
    if name.len() > NAMESPACE_BYTES {
        return fail(error::IdentifierFault::Long);
    }
    let mut separator = true;
    for byte in name.bytes() {
        match byte {
            b'.' | b'_' | b'-' if !separator => separator = true,
            byte if byte.is_ascii_alphanumeric() => separator = false,
            _ => return fail(error::IdentifierFault::Form),
        }
    }
    if separator {
        fail(error::IdentifierFault::Form)
    } else {
        Ok(())
    }
}

/// Checks the labels of one object: key and value of each together at most 4096 bytes.
///
/// # Errors
/// [`Error::Label`] naming `field`, as containerd does (`info.Labels`, `namespace.Labels`).
pub fn labels(field: &'static str, labels: &Labels) -> Result<(), Error> {
    labels
        .iter()
        .try_for_each(|(key, value)| label(field, key, value))
}

/// Checks one label, as [`labels`] does.
///
/// # Errors
/// [`Error::Label`].
pub fn label(field: &'static str, key: &str, value: &str) -> Result<(), Error> {
    let bytes = key.len() + value.len();
    if bytes <= LABEL_BYTES {
        return Ok(());
    }
    let shown = key.floor_char_boundary(64);
    Err(Error::Label {
        field,
        key: key[..shown].to_owned(),
        bytes,
    })
}

/// Sets one label, or removes it: an empty value is none.
pub(crate) fn set_label(labels: &mut Labels, key: &str, value: Option<&str>) {
    match value {
        Some(value) if !value.is_empty() => {
            labels.insert(key.to_owned(), value.to_owned());
        }
        _ => {
            labels.remove(key);
        }
    }
}

/// The labels as they are stored: without empty values.
pub(crate) fn without_empty(mut labels: Labels) -> Labels {
    labels.retain(|_, value| !value.is_empty());
    labels
}

/// Reads a digest. The error is what containerd's clients know as the reason.
///
/// # Errors
/// `invalid checksum digest format`, `invalid checksum digest length` or `unsupported digest algorithm`.
pub fn digest(text: &str) -> Result<Digest, &'static str> {
    const FORMAT: &str = "invalid checksum digest format";
    text.parse().map_err(|error| {
        let value = text.split_once(':').map_or("", |(_, value)| value);
        match error {
            DigestError::Algorithm { .. } if names_an_algorithm(text) => "unsupported digest algorithm",
            DigestError::Value { algorithm } if !value.is_empty() && value.len() != algorithm.hex_len() => {
                "invalid checksum digest length"
            }
            _ => FORMAT,
        }
    })
}

fn names_an_algorithm(text: &str) -> bool {
    let Some((algorithm, value)) = text.split_once(':') else {
        return false;
    };
    let part = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    let mut encoded = value.bytes();
    algorithm.split(['+', '.', '_', '-']).all(part)
        && !value.is_empty()
        && encoded.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-'))
}

/// Checks the length of a name that has no other rule: of an image, a lease, a ref, a snapshot.
///
/// # Errors
/// [`Error::Invalid`].
pub fn length(kind: &'static str, name: &str) -> Result<(), Error> {
    if name.len() <= NAME_BYTES {
        return Ok(());
    }
    Err(Error::Invalid {
        what: format!("{kind} of {} bytes is longer than {NAME_BYTES}", name.len()),
    })
}
