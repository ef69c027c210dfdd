//! [`StoragePath`]: the checked name of what a driver keeps.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use crate::{Error, limits};

/// An absolute path of parts of `A-Z a-z 0-9 . _ -`, or the root `/`.
///
/// There are no empty parts, no `.` and no `..`, no slash at the end, at most [`PART_BYTES`](limits::PART_BYTES) in a part
/// and [`PATH_BYTES`](limits::PATH_BYTES) in all. A clone shares the text.
///
/// Paths are ordered part by part, which is the order of every walk and list: what is below `/a` comes directly after
/// `/a`, before `/a-b` and `/a.b`. In other words, `/` is the lowest byte.
#[derive(Clone)]
pub struct StoragePath(Arc<str>);

impl StoragePath {
    /// The root, which is a folder.
    #[must_use]
    pub fn root() -> StoragePath {
        StoragePath(Arc::from("/"))
    }

    /// Checks a path.
    ///
    /// # Errors
    /// [`Error::InvalidPath`], with the rule that it breaks.
    pub fn new(text: &str) -> Result<StoragePath, Error> {
        check(text).map_err(|reason| Error::invalid_path(text, reason))?;
        Ok(StoragePath(Arc::from(text)))
    }

    /// The path of `part` below this one; `part` may be several parts with slashes between them.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn join(&self, part: &str) -> Result<StoragePath, Error> {
        StoragePath::new(&format!("{}/{part}", self.prefix()))
    }

    /// The text, which begins with a slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The parts from the top; none for the root.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0[1..].split('/').filter(|part| !part.is_empty())
    }

    /// The last part; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The folder that this is in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<StoragePath> {
        let (folder, name) = self.0.rsplit_once('/')?;
        match (folder, name) {
            (_, "") => None,
            ("", _) => Some(StoragePath::root()),
            (folder, _) => Some(StoragePath(Arc::from(folder))),
        }
    }

    /// Whether this is somewhere below `folder`; nothing is below itself.
    #[must_use]
    pub fn is_below(&self, folder: &StoragePath) -> bool {
        let rest = self.0.strip_prefix(folder.prefix());
        !self.is_root() && rest.is_some_and(|rest| rest.starts_with('/'))
    }

    /// The root is refused: nothing but [`stat`](crate::StorageDriver::stat), [`list`](crate::StorageDriver::list) and
    /// [`walk`](crate::StorageDriver::walk) take it.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn not_root(&self) -> Result<&StoragePath, Error> {
        if self.is_root() {
            return Err(Error::invalid_path("/", "the root is a folder that always is"));
        }
        Ok(self)
    }

    /// The text to which `/part` is appended.
    fn prefix(&self) -> &str {
        if self.is_root() { "" } else { &self.0 }
    }
}

/// Says what is wrong with a path.
fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > limits::PATH_BYTES {
        return Err("it is too long");
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err("it does not begin with a slash");
    };
    if rest.is_empty() {
        return Ok(());
    }
    for part in rest.split('/') {
        match part {
            "" => return Err("it has an empty part"),
            "." | ".." => return Err("it has a part . or .."),
            part if part.len() > limits::PART_BYTES => return Err("it has a part that is too long"),
            part if !is_name(part) => return Err("a part has a byte other than A-Z a-z 0-9 . _ -"),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a name has only the bytes that a part may have. Drivers keep files of their own under other names.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.bytes().all(allowed)
}

impl Ord for StoragePath {
    fn cmp(&self, other: &StoragePath) -> Ordering {
        let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
        self.0.bytes().map(rank).cmp(other.0.bytes().map(rank))
    }
}

impl PartialOrd for StoragePath {
    fn partial_cmp(&self, other: &StoragePath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for StoragePath {
    fn eq(&self, other: &StoragePath) -> bool {
        self.0 == other.0
    }
}

impl Eq for StoragePath {}

impl Hash for StoragePath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl FromStr for StoragePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<StoragePath, Error> {
        StoragePath::new(text)
    }
}

impl fmt::Display for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> StoragePath {
        StoragePath::new(text).unwrap()
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let long = format!("/{}", "a".repeat(limits::PART_BYTES + 1));
        let deep = "/aaaaaaaaa".repeat(limits::PATH_BYTES / 10 + 1);
        for text in [
            "", "abc", "//bcd", "/abc/", "/a//b", "/.", "/..", "/a/../b", "/a/.", "/a\0b", "/a b", "/ä",
            "/a~b", "/a\\b", "/a%2e", &long, &deep,
        ] {
            let error = StoragePath::new(text).unwrap_err();
            assert!(matches!(error, Error::InvalidPath { .. }), "{text:?}: {error}");
        }
        for text in [
            "/",
            "/a",
            "/.abc",
            "/abc.",
            "/...",
            "/..a",
            "/a-.b/_.c/A",
            &long[..long.len() - 1],
        ] {
            assert_eq!(path(text).as_str(), text);
        }
        assert!(path("/").not_root().is_err());
    }

    #[test]
    fn a_refused_path_is_not_repeated_whole() {
        let text = "ü".repeat(100_000);
        assert!(StoragePath::new(&text).unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn parts_and_parents() {
        assert_eq!(path("/a/b/c").parts().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(path("/").parts().count(), 0);
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(path("/")));
        assert_eq!(path("/").parent(), None);
        assert_eq!((path("/a/b").name(), path("/").name()), ("b", ""));
        assert_eq!(path("/").join("a/b").unwrap(), path("/a/b"));
        assert!(path("/a").join("../b").is_err() && path("/a").join("").is_err());
    }

    #[test]
    fn below_is_by_parts() {
        assert!(path("/a/b").is_below(&path("/a")) && path("/a").is_below(&path("/")));
        assert!(!path("/ab").is_below(&path("/a")) && !path("/a").is_below(&path("/a")));
        assert!(!path("/").is_below(&path("/")));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_parts(
            a in "(/[a.-]{1,3}){1,4}",
            b in "(/[a.-]{1,3}){1,4}",
        ) {
            let (Ok(a), Ok(b)) = (StoragePath::new(&a), StoragePath::new(&b)) else {
                return Ok(());
            };
            prop_assert_eq!(a.cmp(&b), a.parts().cmp(b.parts()));
        }
    }
}
