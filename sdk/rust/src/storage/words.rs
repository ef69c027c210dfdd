//! What is said of content, and the order of paths.

use std::cmp::Ordering;

use crate::Instant;

/// What a storage driver is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DriverInfo {
    /// Its name, which is the driver's in a configuration: lower-case letters, digits and `-`, at most 64 bytes.
    pub name: String,
    /// Its version by the rules of semver.org; `env!("CARGO_PKG_VERSION")` will do.
    pub version: String,
}

impl DriverInfo {
    /// Name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
        }
    }
}

/// What a driver can do beyond the rest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities {
    /// [`Store::put`](super::Store::put) takes [`Condition::Absent`].
    pub put_if_absent: bool,
    /// [`Store::redirect`](super::Store::redirect) gives URLs.
    pub redirects: bool,
    /// [`Store::rename`](super::Store::rename) is one step and costs the same for any size.
    pub quick_rename: bool,
    /// What was acknowledged survives a power cut.
    pub durable: bool,
    /// Paths are keys: content may be at `/a` and at `/a/b`.
    pub flat: bool,
}

/// When content may be set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// Always; what is there is replaced.
    Always,
    /// Only if there is no content. Of several at the same time, one succeeds.
    Absent,
}

/// How content is opened for writing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteMode {
    /// From nothing; what was written before and not committed is thrown away.
    Create,
    /// After what was written before and not committed, or else after the committed content.
    Append,
}

/// What a client will do with a URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RedirectMethod {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
}

/// Committed content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct File {
    /// Its bytes.
    pub size: u64,
    /// When it was written, by the clock of the store, if it says so.
    pub modified: Option<Instant>,
}

/// What a path is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Committed content.
    File(File),
    /// A folder.
    Folder,
}

/// What is at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The whole path.
    pub path: String,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// A folder.
    pub fn folder(path: impl Into<String>) -> Entry {
        let (path, kind) = (path.into(), Kind::Folder);
        Entry { path, kind }
    }

    /// Content.
    pub fn file(path: impl Into<String>, file: File) -> Entry {
        let (path, kind) = (path.into(), Kind::File(file));
        Entry { path, kind }
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// The order of paths: part by part, so that what is below `/a` comes before `/a-b`.
pub(crate) fn order(one: &str, other: &str) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    one.bytes().map(rank).cmp(other.bytes().map(rank))
}

/// Whether a path is somewhere below a folder.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.len() > folder.len() + 1 && path.starts_with(folder) && path.as_bytes()[folder.len()] == b'/'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_is_lowest() {
        let mut paths = ["/a.b", "/a-b/x", "/a", "/a/-", "/a/b", "/a0", "/B"];
        paths.sort_by(|one, other| order(one, other));
        assert_eq!(paths, ["/B", "/a", "/a/-", "/a/b", "/a-b/x", "/a.b", "/a0"]);
    }

    #[test]
    fn below_is_by_parts() {
        assert!(is_below("/a/b", "/a") && is_below("/a/b/c", "/a") && is_below("/a", "/"));
        assert!(!is_below("/a", "/a") && !is_below("/ab", "/a") && !is_below("/", "/"));
    }
}
