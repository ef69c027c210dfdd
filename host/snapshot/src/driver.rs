//! What the snapshotters differ in.

use std::fmt;
use std::os::fd::BorrowedFd;

use transom_meta::names::Labels;
use transom_meta::snapshots::{Kind, SnapshotError};
use transom_sys::Mount;

use crate::folders::Folders;
use crate::records::SnapshotRecord;

/// A folder that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The id of the parent.
    pub(crate) parent: Option<u64>,
    /// The labels of the snapshot.
    pub(crate) labels: Labels,
}

/// A way to stack snapshots.
pub(crate) trait Driver: Send + Sync + fmt::Debug + 'static {
    /// The name of the snapshotter.
    fn name(&self) -> &'static str;

    /// What it can do, as containerd names it.
    fn capabilities(&self) -> Vec<String>;

    /// Whether a snapshot made on nothing can be put onto a parent when it is committed.
    fn rebases(&self) -> bool;

    /// Whether a new folder holds what must be on the disk before the snapshot is acknowledged.
    fn copies(&self) -> bool;

    /// Where a snapshot's own files lie in its folder; empty for the folder itself.
    fn files(&self) -> &'static str;

    /// Refuses what could never be made or mounted: a request that is not valid.
    fn check(&self, lower: usize, labels: &Labels) -> Result<(), SnapshotError>;

    /// Whether a snapshot has a folder.
    fn has_folder(&self, kind: Kind, has_parent: bool) -> bool;

    /// Fills a new folder. Blocks.
    fn fill(&self, folders: &Folders, new: BorrowedFd<'_>, wanted: &Wanted) -> Result<(), SnapshotError>;

    /// The mounts of a view or an active snapshot.
    fn mounts(&self, folders: &Folders, record: &SnapshotRecord) -> Vec<Mount>;

    /// A label that is shown and not recorded.
    fn shown(&self, _folders: &Folders, _record: &SnapshotRecord) -> Option<(&'static str, String)> {
        None
    }
}
