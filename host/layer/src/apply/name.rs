//! Names in the archive: cleaned, split, and what a whiteout's name means.

use super::error::ApplyError;
use super::limits::{NAME_MAX, PATH_MAX};

/// The prefix of a whiteout (OCI image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";

/// The name of the marker that makes its folder opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry's last part says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// A name to create.
    Plain,
    /// A whiteout of this name in the same folder.
    Whiteout(&'a [u8]),
    /// Everything in the folder from lower layers is hidden.
    Opaque,
    /// A whiteout of the folder itself or of what is above it.
    Invalid,
}

/// Tells whiteouts from other names.
pub(super) fn meaning(base: &[u8]) -> Meaning<'_> {
    if base == OPAQUE {
        return Meaning::Opaque;
    }
    match base.strip_prefix(WHITEOUT) {
        None => Meaning::Plain,
        Some(b"" | b"." | b"..") => Meaning::Invalid,
        Some(hidden) => Meaning::Whiteout(hidden),
    }
}

/// Cleans `path` by its text alone, as containerd does before it looks at any folder: no `.`, no empty parts, `..` takes
/// the part before it away and stops at the root. The result is relative to the root, and empty for the root itself.
pub(super) fn clean(path: &[u8], out: &mut Vec<u8>) -> Result<(), ApplyError> {
    out.clear();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let end = out.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                out.truncate(end);
            }
            _ if part.contains(&0) => return Err(ApplyError::invalid(path, "a name with a NUL byte")),
            _ if part.len() > NAME_MAX => {
                return Err(ApplyError::invalid(
                    path,
                    "a part of the name is longer than 255 bytes",
                ));
            }
            _ => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(part);
            }
        }
    }
    if out.len() >= PATH_MAX {
        return Err(ApplyError::invalid(path, "the name is longer than 4095 bytes"));
    }
    Ok(())
}

/// Splits a cleaned path into its folder (empty for the root) and its last part.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(path: &str) -> String {
        let mut out = Vec::new();
        clean(path.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cleaning_stays_in_the_root() {
        for (path, expected) in [
            ("a/b", "a/b"),
            ("/a//b/", "a/b"),
            ("./a/./b", "a/b"),
            ("..", ""),
            ("../../a", "a"),
            ("a/../../b", "b"),
            ("a/b/../c", "a/c"),
            ("a/..", ""),
            ("", ""),
            ("/", ""),
            ("a/...", "a/..."),
        ] {
            assert_eq!(cleaned(path), expected, "{path}");
        }
    }

    #[test]
    fn names_that_no_file_can_have_are_refused() {
        let mut out = Vec::new();
        assert!(clean(&[b'a'; 255], &mut out).is_ok());
        assert!(clean(&[b'a'; 256], &mut out).is_err());
        assert!(clean(&b"a/".repeat(2047), &mut out).is_ok());
        assert!(clean(&b"ab/".repeat(1400), &mut out).is_err());
        assert!(clean(b"a\0b", &mut out).is_err());
    }

    #[test]
    fn whiteouts_of_folders_themselves_are_invalid() {
        assert_eq!(meaning(b".wh."), Meaning::Invalid);
        assert_eq!(meaning(b".wh.."), Meaning::Invalid);
        assert_eq!(meaning(b".wh..."), Meaning::Invalid);
        assert_eq!(meaning(b".wh...."), Meaning::Whiteout(b"..."));
        assert_eq!(meaning(b".wh..wh..opq"), Meaning::Opaque);
        assert_eq!(meaning(b".wh.a"), Meaning::Whiteout(b"a"));
        assert_eq!(meaning(b".why"), Meaning::Plain);
    }
}
