//! Names of images as Docker and OCI write them: `[docker://][HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
//!
//! What comes before the first `/` is a host if it has a `.` or `:` in it, has a capital letter, or is `localhost`; otherwise
//! the image is one of `docker.io`, below `library/` if it has no other folder. `index.docker.io` is `docker.io`.

use std::fmt;
use std::str::FromStr;

use transom_oci::Digest;

use crate::{Error, limits};

/// The registry of names without a host.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// The tag of names without one.
pub const DEFAULT_TAG: &str = "latest";

/// The longest tag.
const TAG_BYTES: usize = 128;

/// A repository and the registry that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// A repository of a registry, both checked and nothing added.
    ///
    /// # Errors
    /// [`Error::Reference`].
    pub fn new(registry: &str, path: &str) -> Result<Repository, Error> {
        check_host(registry).map_err(|reason| invalid(registry, &reason))?;
        check_path(path).map_err(|reason| invalid(path, &reason))?;
        Ok(Repository {
            registry: registry.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The registry: a host, with a port if it is not the usual one.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name below the registry, `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Repository {
    type Err = Error;

    /// Reads the name of a repository, which has neither tag nor digest.
    fn from_str(text: &str) -> Result<Repository, Error> {
        let reference: Reference = text.parse()?;
        if reference.tag.is_some() || reference.digest.is_some() {
            return Err(invalid(text, "a repository is meant: leave out tag and digest"));
        }
        Ok(reference.repository)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// The name of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Where it is.
    pub repository: Repository,
    /// Its tag, if one was named.
    pub tag: Option<String>,
    /// Its digest, if one was named. It decides: a tag beside it is for people.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What a registry is asked for: the digest, else the tag, else [`DEFAULT_TAG`].
    #[must_use]
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The same image with [`DEFAULT_TAG`] if it names neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }
}

impl fmt::Display for Reference {
    /// The whole name, with host and `library/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference, Error> {
        parse(text).map_err(|reason| invalid(text, &reason))
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    let rest = text.strip_prefix("docker://").unwrap_or(text);
    if let Some((scheme, rest)) = rest.split_once("://") {
        return Err(format!("leave out {scheme:?} and write {rest:?}"));
    }
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => {
            let digest = digest.parse::<Digest>().map_err(|error| error.to_string())?;
            (rest, Some(digest))
        }
        None => (rest, None),
    };
    // A colon before the last slash belongs to a port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    Ok(Reference {
        repository: repository(name)?,
        tag: tag.map(str::to_owned),
        digest,
    })
}

fn repository(name: &str) -> Result<Repository, String> {
    if name.is_empty() {
        return Err("give the name of an image, such as docker.io/library/debian:12".to_owned());
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if is_host(host) => (host, path),
        _ => (DEFAULT_REGISTRY, name),
    };
    let host = if host == "index.docker.io" {
        DEFAULT_REGISTRY
    } else {
        host
    };
    check_host(host)?;
    let path = if host == DEFAULT_REGISTRY && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    check_path(&path)?;
    Ok(Repository {
        registry: host.to_owned(),
        path,
    })
}

/// Whether the first part of a name is a host; docker's rule.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A name in DNS or an address, with a port or without; IPv6 in brackets.
fn check_host(host: &str) -> Result<(), String> {
    let wrong =
        || format!("{host:?} is not a host: give a name or address and maybe a port, such as localhost:5000");
    if host.is_empty() || host.len() > limits::HOST_BYTES {
        return Err(wrong());
    }
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            match port {
                "" => (None, None),
                port => (None, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
            }
        }
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        },
    };
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if port.is_some_and(|port| !digits(port) || port.parse::<u16>().is_err()) {
        return Err(wrong());
    }
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    match name {
        Some(name) if !name.split('.').all(label) => Err(wrong()),
        _ => Ok(()),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, parts separated by `/`.
fn check_path(path: &str) -> Result<(), String> {
    if path.len() > limits::REPOSITORY_BYTES {
        return Err(format!(
            "the name of a repository has at most {} bytes, this one {}",
            limits::REPOSITORY_BYTES,
            path.len()
        ));
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(format!(
            "{path:?} has capital letters: write {:?}",
            path.to_ascii_lowercase()
        ));
    }
    match path.split('/').find(|part| !is_part(part)) {
        None => Ok(()),
        Some("") => Err("there is nothing between two slashes or at an end".to_owned()),
        Some(part) => Err(format!(
            "{part:?} is not a part of a name: use lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\""
        )),
    }
}

fn is_part(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    ends && bytes
        .chunk_by(|&a, &b| word(a) == word(b))
        .all(|run| word(run[0]) || matches!(run, b"." | b"_" | b"__") || run.iter().all(|&byte| byte == b'-'))
}

pub(crate) fn check_tag(tag: &str) -> Result<(), String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    let fits = bytes.len() <= TAG_BYTES
        && bytes.first().copied().is_some_and(word)
        && bytes.iter().all(|&byte| word(byte) || b".-".contains(&byte));
    if fits {
        return Ok(());
    }
    Err(format!(
        "{tag:?} is not a tag: use letters, digits, \"_\", \".\" and \"-\", not beginning with \".\" or \"-\", at most {TAG_BYTES}"
    ))
}

fn invalid(text: &str, reason: &str) -> Error {
    Error::Reference {
        text: crate::error::shortened(text),
        reason: reason.to_owned(),
    }
}
