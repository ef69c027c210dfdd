//! What a person types to name an image on disk.
//!
//! `[TRANSPORT:]PATH[:NAME][@DIGEST]`, where TRANSPORT is skopeo's `oci`, `oci-archive` or `docker-archive`, PATH
//! is a folder, a file or `-` for standard input, and NAME is a tag or a whole image name. Paths may contain `:`
//! and `@`, so the disk decides, in this order:
//!
//! 1. the whole text is the path of something that exists: it is that path;
//! 2. the text begins with a transport: the rest is read by the rules 1, 3 and 4;
//! 3. the longest beginning that ends before a `:` or `@` and exists is the path, provided that what follows is
//!    a valid selector; `-` counts as existing;
//! 4. nothing exists: the path ends at the first `:` or `@` of its last part, so that the error names it well.
//!
//! A file that looks like something else is named with `./` before it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use transom_oci::Digest;

use crate::error::ImageError;

/// Which kind of image the person says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `oci:`, a layout folder.
    Oci,
    /// `oci-archive:`, a tar file of a layout folder.
    OciArchive,
    /// `docker-archive:`, what `docker save` writes.
    DockerArchive,
}

impl Transport {
    const ALL: [Transport; 3] = [Transport::Oci, Transport::OciArchive, Transport::DockerArchive];

    /// The word before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Oci => "oci",
            Transport::OciArchive => "oci-archive",
            Transport::DockerArchive => "docker-archive",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// skopeo's other transports, refused with a hint instead of "no such file".
const ELSEWHERE: [&str; 6] = [
    "containers-storage",
    "dir",
    "docker",
    "docker-daemon",
    "ostree",
    "sif",
];

/// Where the bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Standard input.
    Stdin,
    /// A folder, file or pipe.
    Path(PathBuf),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Stdin => f.write_str("standard input"),
            Location::Path(path) => path.display().fmt(f),
        }
    }
}

/// Which image of a source is meant; by default the only one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// A tag (`3.18`) or a name with or without one (`alpine`, `docker.io/library/alpine:3.18`).
    pub name: Option<String>,
    /// The digest of an index or manifest; in docker archives also of a configuration (docker's image ID).
    pub digest: Option<Digest>,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, ":{name}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// An image argument, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The kind of image, if the person says it.
    pub transport: Option<Transport>,
    /// Where it is.
    pub location: Location,
    /// Which image of those there.
    pub selector: Selector,
}

impl Reference {
    /// Takes an argument apart, asking the file system which paths exist.
    ///
    /// # Errors
    /// [`ImageError::Reference`] when a part is invalid, [`ImageError::Transport`] for `docker:` and the like.
    pub fn parse(argument: &OsStr) -> Result<Reference, ImageError> {
        Reference::parse_with(argument, |path| path.symlink_metadata().is_ok())
    }

    /// The same with another idea of what exists.
    ///
    /// # Errors
    /// As [`Reference::parse`].
    pub fn parse_with(argument: &OsStr, exists: impl Fn(&Path) -> bool) -> Result<Reference, ImageError> {
        let text = argument.as_bytes();
        if text.is_empty() {
            return Err(invalid(text, "it is empty, give the path of an image"));
        }
        if exists(Path::new(argument)) {
            return Ok(whole(None, text));
        }
        let (transport, rest) = take_transport(text);
        if rest.is_empty() {
            return Err(invalid(text, "the path after the transport is empty"));
        }
        let reference = parse_rest(transport, rest, &exists)?;
        match (&reference.location, foreign_transport(text)) {
            (Location::Path(path), Some(name)) if !exists(path) => Err(ImageError::Transport { name }),
            _ => Ok(reference),
        }
    }
}

fn parse_rest(
    transport: Option<Transport>,
    text: &[u8],
    exists: &impl Fn(&Path) -> bool,
) -> Result<Reference, ImageError> {
    let there = |path: &[u8]| path == b"-" || exists(Path::new(OsStr::from_bytes(path)));
    if there(text) {
        return Ok(whole(transport, text));
    }
    let mut refused = None;
    let cuts = (1..text.len()).rev().filter(|at| b":@".contains(&text[*at]));
    for at in cuts.filter(|at| there(&text[..*at])) {
        match parse_selector(&text[at..]) {
            Ok(selector) => {
                return Ok(Reference {
                    selector,
                    ..whole(transport, &text[..at])
                });
            }
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    if let Some(reason) = refused {
        return Err(invalid(text, &reason));
    }
    let last_part = text.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let end = text[last_part..]
        .iter()
        .position(|byte| b":@".contains(byte))
        .map_or(text.len(), |at| last_part + at);
    if end == 0 {
        return Err(invalid(text, "the path is empty"));
    }
    // The path is not there, which opening it will say; a selector that cannot be read says nothing on top.
    let selector = parse_selector(&text[end..]).unwrap_or_default();
    Ok(Reference {
        selector,
        ..whole(transport, &text[..end])
    })
}

fn whole(transport: Option<Transport>, path: &[u8]) -> Reference {
    let location = match path {
        b"-" => Location::Stdin,
        path => Location::Path(PathBuf::from(OsString::from_vec(path.to_vec()))),
    };
    Reference {
        transport,
        location,
        selector: Selector::default(),
    }
}

fn take_transport(text: &[u8]) -> (Option<Transport>, &[u8]) {
    for transport in Transport::ALL {
        let rest = text.strip_prefix(transport.as_str().as_bytes());
        if let Some(rest) = rest.and_then(|rest| rest.strip_prefix(b":")) {
            return (Some(transport), rest);
        }
    }
    (None, text)
}

fn foreign_transport(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&text[..end]).ok()?;
    ELSEWHERE.contains(&name).then(|| name.to_owned())
}

/// Reads `:NAME`, `@DIGEST`, `:NAME@DIGEST` or nothing; the error says what is wrong.
fn parse_selector(text: &[u8]) -> Result<Selector, String> {
    let text = std::str::from_utf8(text).map_err(|_| "tag or digest is not UTF-8".to_owned())?;
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let digest = digest.map(Digest::from_str).transpose();
    let digest = digest.map_err(|error| error.to_string())?;
    let name = match name.strip_prefix(':') {
        None => None,
        Some(name) if is_name(name) => Some(name.to_owned()),
        Some(name) => return Err(format!("{name:?} is neither a tag nor the name of an image")),
    };
    Ok(Selector { name, digest })
}

/// The characters of tags and names; whether the name fits anything is seen when it is looked up.
fn is_name(name: &str) -> bool {
    const NAME_BYTES_MAX: usize = 512;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:+".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed)
}

fn invalid(text: &[u8], reason: &str) -> ImageError {
    ImageError::Reference {
        text: String::from_utf8_lossy(text).into_owned(),
        reason: reason.to_owned(),
    }
}
