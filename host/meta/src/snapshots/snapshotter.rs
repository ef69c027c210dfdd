//! What keeps the files of snapshots, in one flat space of keys: overlayfs, native, or one behind a socket.

use std::fmt;
use std::time::SystemTime;

use transom_sys::Mount;

use crate::Error;
use crate::error::Class;
use crate::kv::Pending;
use crate::names::Labels;

/// What a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Read-only, and cannot be committed.
    View,
    /// Can be written to, and committed.
    Active,
    /// Finished: others can stand on it, and it has no mounts.
    Committed,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// What it is.
    pub kind: Kind,
    /// Its key while it is a view or active, its name once it is committed.
    pub name: String,
    /// The committed snapshot that it stands on; empty for none.
    pub parent: String,
    /// Its labels.
    pub labels: Labels,
    /// When it was made.
    pub created: SystemTime,
    /// When it was last changed.
    pub updated: SystemTime,
}

/// What a snapshot takes on disk, without its parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes, as the file system has allocated them.
    pub size: u64,
    /// Files and folders; the same file with several names counts once.
    pub inodes: u64,
}

/// A keeper of snapshots. Keys and names share one space.
///
/// What it acknowledges survives a power cut, except what others write into an active snapshot: that does once a commit is
/// acknowledged. A call that its caller no longer waits for comes to its end or changes nothing.
pub trait Snapshotter: Send + Sync + fmt::Debug + 'static {
    /// Its name, such as `overlayfs`.
    fn name(&self) -> &str;

    /// What it can do, as containerd's introspection names it: `rebase` if [`commit`](Snapshotter::commit) takes a parent
    /// for a snapshot that has none, `remap-ids`, `only-remap-ids`.
    fn capabilities(&self) -> Vec<String>;

    /// The folder that it works in, if there is one.
    fn root(&self) -> Option<&std::path::Path>;

    /// Makes an active snapshot on a committed one, or on nothing with an empty `parent`.
    ///
    /// # Errors
    /// [`SnapshotError::AlreadyExists`], [`SnapshotError::ParentNotFound`], [`SnapshotError::ParentNotCommitted`].
    fn prepare<'a>(
        &'a self,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<Vec<Mount>, SnapshotError>>;

    /// Makes a view. Otherwise as [`prepare`](Snapshotter::prepare).
    ///
    /// # Errors
    /// As [`prepare`](Snapshotter::prepare).
    fn view<'a>(
        &'a self,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<Vec<Mount>, SnapshotError>>;

    /// The mounts of a view or an active snapshot. Nothing is mounted by this.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`], [`SnapshotError::State`].
    fn mounts<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Vec<Mount>, SnapshotError>>;

    /// Turns the active snapshot `key` into the committed one `name` with these labels instead of those that it had.
    /// With a `parent` that is not empty, a snapshot without parent is put onto it.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`], [`SnapshotError::AlreadyExists`], [`SnapshotError::State`] for a view,
    /// [`SnapshotError::Invalid`] for a parent other than the one it has.
    fn commit<'a>(
        &'a self,
        name: &'a str,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<(), SnapshotError>>;

    /// Removes a snapshot that no other stands on.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`], [`SnapshotError::State`] while others stand on it.
    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, Result<(), SnapshotError>>;

    /// A snapshot, found without looking at others.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`].
    fn stat<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Info, SnapshotError>>;

    /// Changes labels: each of `labels` is set, or removed if it is empty; all others are removed first if `replace`.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`].
    fn update<'a>(
        &'a self,
        key: &'a str,
        labels: Labels,
        replace: bool,
    ) -> Pending<'a, Result<Info, SnapshotError>>;

    /// The first `limit` snapshots in byte order of their keys, from the one after `after`.
    ///
    /// # Errors
    /// Those of the records.
    fn list<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> Pending<'a, Result<Vec<Info>, SnapshotError>>;

    /// What a snapshot takes: as it is now for an active one, as it was when it was committed for others.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`].
    fn usage<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Usage, SnapshotError>>;

    /// Removes the files of what was removed, and of what a crash left.
    ///
    /// # Errors
    /// Those of the file system.
    fn cleanup(&self) -> Pending<'_, Result<(), SnapshotError>>;
}

/// Why a snapshotter did not do something. The texts are containerd's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// There is no such snapshot.
    #[error("snapshot {key:?} does not exist")]
    NotFound {
        /// Its key.
        key: String,
    },
    /// The parent does not exist.
    #[error("parent snapshot {parent} does not exist")]
    ParentNotFound {
        /// Its name.
        parent: String,
    },
    /// The parent is no committed snapshot.
    #[error("parent {parent:?} is not committed snapshot")]
    ParentNotCommitted {
        /// Its key.
        parent: String,
    },
    /// The key or name is taken.
    #[error("snapshot {key:?}")]
    AlreadyExists {
        /// The key.
        key: String,
    },
    /// The snapshot is not in a state that allows this.
    #[error("{what}")]
    State {
        /// Which state, such as `snapshot "a" is not active`.
        what: String,
    },
    /// Something in the request is not valid.
    #[error("{what}")]
    Invalid {
        /// What.
        what: String,
    },
    /// The disk is full.
    #[error("no space is left in {path}: free some, then try again")]
    NoSpace {
        /// Where.
        path: String,
    },
    /// The snapshotter cannot work here.
    #[error("the {snapshotter} snapshotter cannot use {path}: {reason}")]
    Unusable {
        /// Its name.
        snapshotter: &'static str,
        /// The folder that it was given.
        path: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The file system refused.
    #[error("cannot {what} {path}: {error}")]
    Io {
        /// What was tried: `make`, `remove`.
        what: &'static str,
        /// On which file or folder.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The records.
    #[error(transparent)]
    Records(#[from] Box<Error>),
}

impl SnapshotError {
    /// The class of this error.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            SnapshotError::NotFound { .. } | SnapshotError::ParentNotFound { .. } => Class::NotFound,
            SnapshotError::AlreadyExists { .. } => Class::AlreadyExists,
            SnapshotError::State { .. } => Class::FailedPrecondition,
            SnapshotError::ParentNotCommitted { .. } | SnapshotError::Invalid { .. } => {
                Class::InvalidArgument
            }
            SnapshotError::NoSpace { .. } => Class::ResourceExhausted,
            SnapshotError::Unusable { .. } => Class::Unimplemented,
            SnapshotError::Io { .. } => Class::Unknown,
            SnapshotError::Records(error) => error.class(),
        }
    }
}
