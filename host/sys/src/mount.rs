//! Mounts: what is mounted, how, and where.

/// One mount, as snapshotters give it out and as clients send it (containerd's `types.Mount`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// The type of the file system: `bind`, `overlay`, `ext4`.
    pub kind: String,
    /// What is mounted: a folder, a device, or a name that means nothing.
    pub source: String,
    /// Where below the place that the caller mounts at; empty for that place itself.
    pub target: String,
    /// Options as `fstab(5)` has them, one in each string.
    pub options: Vec<String>,
}
