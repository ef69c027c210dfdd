//! What applying a stranger's tar may cost, beside the reader's own limits.

use crate::tar::TarLimits;

/// Bytes of a cleaned path, as the kernel counts them with the closing NUL (`PATH_MAX`): a longer one could not be named
/// in one call by whatever uses the tree later, and containerd cannot create it either.
pub const PATH_MAX: usize = 4096;

/// Bytes of one part of a path (`NAME_MAX` of every Linux file system that layers are unpacked on).
pub const NAME_MAX: usize = 255;

/// Symbolic links followed on the way to one folder, as containerd's; the kernel itself stops at 40.
pub const LINKS_MAX: u32 = 255;

/// Parts of paths walked on the way to one folder, those of link targets included: eight times what one path can have, so
/// that a chain of links with long targets does not cost a million calls for each entry.
pub(super) const PARTS_MAX: u32 = 8 * 2048;

/// Handles of folders kept open. With the usual soft limit of 1024 descriptors this leaves plenty for the process, and
/// few trees are deeper or jump about more than this.
pub(super) const HANDLES: usize = 128;

/// Handles kept open on the way into one deep tree; levels above are opened again through `..` on the way back.
pub(crate) const STACK: usize = 64;

/// Folders that an archive needs and does not list, of which the report has the paths: real layers have a handful, and with
/// paths of usual length this many take a few megabytes.
pub const IMPLICIT_MAX: usize = 10_000;

/// Characters of an entry's name in messages: enough to find it, too few to flood a log.
pub(super) const NAME_IN_MESSAGE: usize = 256;

/// The limits of one `apply`, each enforced there.
#[derive(Clone, Copy, Debug)]
pub struct ApplyLimits {
    /// Entries of the archive. Every one costs an inode; the default is far above any image seen (a full distribution has
    /// about a million files), and keeps a bomb of empty files from using up a file system's inodes unseen.
    pub entries: u64,
    /// Warnings kept with their text; more are only counted, so that memory stays bounded.
    pub warnings: usize,
    /// The reader's limits.
    pub tar: TarLimits,
}

impl Default for ApplyLimits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            warnings: 100,
            tar: TarLimits::default(),
        }
    }
}
