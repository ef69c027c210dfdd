//! What the reader finds: one entry, with everything that extension headers said about it applied.

/// What an entry is, from its type flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file (`0`, NUL, or GNU's sparse `S`).
    File,
    /// A second name for an earlier entry (`1`).
    HardLink,
    /// A symbolic link (`2`).
    Symlink,
    /// A character device (`3`).
    CharDevice,
    /// A block device (`4`).
    BlockDevice,
    /// A folder (`5`, or NUL with a name that ends in a slash).
    Directory,
    /// A named pipe (`6`).
    Fifo,
    /// Any other type flag; its data is there, its meaning is not known.
    Other(u8),
}

impl EntryKind {
    /// Whether entries of this kind never have data in the stream, whatever size their header says.
    pub(super) fn is_header_only(self) -> bool {
        !matches!(self, Self::File | Self::Other(_))
    }
}

/// A point in time: seconds since 1970 (before it when negative), and nanoseconds after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded towards the past.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// One member of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its name, verbatim: any bytes but NUL, not cleaned, possibly absolute, empty or with `..`.
    pub path: Vec<u8>,
    /// The target of a link, verbatim; empty for other kinds as a rule.
    pub link: Vec<u8>,
    /// The mode field, verbatim; only the lowest twelve bits have a meaning for files on Linux.
    pub mode: i64,
    /// The owner's number, verbatim.
    pub uid: i64,
    /// The group's number, verbatim.
    pub gid: i64,
    /// Bytes of content: for a sparse file with its holes. A header-only kind may have a size here that means nothing.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Time,
    /// Last access, when the archive has it.
    pub atime: Option<Time>,
    /// Major number of a device, verbatim.
    pub dev_major: i64,
    /// Minor number of a device, verbatim.
    pub dev_minor: i64,
    /// Extended attributes: name and value, in the order of the header; the last of two with one name wins and is the
    /// only one here.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the content has a map of holes: then only the pieces with data are handed out.
    pub sparse: bool,
    /// Where the entry's own header block begins, in bytes from the start of the stream.
    pub offset: u64,
}
