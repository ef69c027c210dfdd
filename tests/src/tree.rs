//! A directory as a comparable record: what is where, with every attribute that unpacking must restore.
//!
//! [`walk`] reads a directory, [`diff`] compares two records and says in words what differs.

mod diff;
mod walk;

use std::collections::BTreeMap;
use std::fmt;

use transom_oci::Digest;

pub use diff::{Difference, Ignore, diff, report};
pub(crate) use walk::read_xattrs;
pub use walk::walk;

/// What a directory holds, by path relative to it. Paths are bytes, with `/` between the parts and none at
/// the ends. The directory itself is not part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The entries, parents before children.
    pub entries: BTreeMap<Vec<u8>, Entry>,
}

/// One name in a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The twelve permission bits; 0o777 for symbolic links, which have none.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Last modification, in seconds since 1970.
    pub mtime: i64,
    /// And nanoseconds, less than 1,000,000,000.
    pub mtime_nsec: u32,
    /// The extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// For a file with several names in this tree: the first of them.
    pub link_group: Option<Vec<u8>>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// sha256 of the content, holes read as zeros.
        digest: Digest,
    },
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Where it points, as stored.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice {
        /// The device's class.
        major: u32,
        /// The device in its class.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The device's class.
        major: u32,
        /// The device in its class.
        minor: u32,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::File { size, digest } => write!(f, "file of {size} bytes, {}", digest.short()),
            Kind::Dir => f.write_str("directory"),
            Kind::Symlink { target } => write!(f, "symlink to {:?}", shown(target)),
            Kind::Fifo => f.write_str("fifo"),
            Kind::Socket => f.write_str("socket"),
            Kind::CharDevice { major, minor } => write!(f, "character device {major}:{minor}"),
            Kind::BlockDevice { major, minor } => write!(f, "block device {major}:{minor}"),
        }
    }
}

impl Tree {
    /// How many regular files it names, and the sum of their sizes in bytes.
    #[must_use]
    pub fn files(&self) -> (usize, u64) {
        self.entries
            .values()
            .fold((0, 0), |(count, bytes), entry| match entry.kind {
                Kind::File { size, .. } => (count + 1, bytes + size),
                _ => (count, bytes),
            })
    }
}

/// Bytes for people: as text where they are, else with `\xNN`.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().flat_map(|c| {
            // Control characters would garble a terminal.
            let escaped: Vec<char> = if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            };
            escaped
        }));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}
