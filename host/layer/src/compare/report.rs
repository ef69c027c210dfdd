//! What a comparison tells about its work.

use transom_oci::Digest;

/// What was found and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompareReport {
    /// The digest of the plain tar.
    pub diff_id: Digest,
    /// Bytes of the plain tar.
    pub diff_size: u64,
    /// The digest of what the sink got; the same as `diff_id` when nothing compresses.
    pub digest: Digest,
    /// Bytes that the sink got.
    pub size: u64,
    /// How many of each kind.
    pub counts: Counts,
}

/// How many of each kind were written or passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries of the tar; the next six together.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Folders, also those that did not change but have something in them that did.
    pub folders: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files and links that were written before.
    pub hard_links: u64,
    /// Devices and named pipes.
    pub specials: u64,
    /// Whiteouts.
    pub whiteouts: u64,
    /// Bytes of file content.
    pub bytes: u64,
    /// Sockets, which a layer cannot hold.
    pub sockets: u64,
    /// Names that begin with `.wh.`, which a layer would take for whiteouts; what is below them is not counted.
    pub reserved: u64,
    /// Names that were compared, from both trees.
    pub names: u64,
}
