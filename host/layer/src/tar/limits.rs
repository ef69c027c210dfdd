//! What a stranger's tar may make the reader hold in memory.

/// The reader's limits, each enforced by [`crate::tar::Reader`].
#[derive(Clone, Copy, Debug)]
pub struct TarLimits {
    /// Bytes of one PAX header or GNU long name. It is read into memory whole. Go's reader, and so containerd, refuses
    /// more than 1 MiB as well; a PAX header with all the extended attributes that Linux can keep on a file fits.
    pub extension_bytes: u64,
    /// Pieces of data in one sparse file; 16 bytes of memory each. A file that alternates 4 KiB of data with 4 KiB of
    /// hole reaches the default at 8 GiB.
    pub sparse_pieces: usize,
    /// Extended attributes of one entry. Linux lists at most 64 KiB of names for a file, which the default fills with
    /// names of 16 bytes.
    pub xattrs: usize,
}

impl Default for TarLimits {
    fn default() -> Self {
        Self {
            extension_bytes: 1 << 20,
            sparse_pieces: 1 << 20,
            xattrs: 4096,
        }
    }
}
