//! What comparing two trees may cost. Whoever ran in the container made the upper one.

/// Folders of all layers kept open below their roots; others are opened again on the way back. With the usual soft limit
/// of 1024 descriptors this leaves plenty for the process.
pub(super) const FOLDERS_OPEN: usize = 256;

/// Bytes of file content read at a time when two files are compared: as many as a pipe's chunk, so that a read costs more
/// than the call.
pub(super) const COMPARE_BYTES: usize = 128 * 1024;

/// The limits of one comparison, each enforced there.
#[derive(Clone, Copy, Debug)]
pub struct CompareLimits {
    /// Entries of the layer that is written: as many as [`ApplyLimits`](crate::apply::ApplyLimits) lets a layer have,
    /// since one with more could not be unpacked.
    pub entries: u64,
    /// Names held in memory at a time: those of the folders from the root to where the walk stands, and those of files
    /// with several names. Some 60 bytes each, so the default is reached at 600 MB; no folder comes near it by right.
    pub names: usize,
}

impl Default for CompareLimits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            names: 10_000_000,
        }
    }
}
