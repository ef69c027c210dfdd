//! What metadata asks of a key-value store: ordered byte keys, ranges, transactions with conditions.
//!
//! No type of an implementation is seen outside its own file. Everything is asynchronous, and conditions compare keys with
//! values, so that a store across several nodes (etcd) can stand here as well as an embedded one.
//!
//! The order of the files: [`open()`] chooses an implementation by its [`Kind`]; [`memory`] is one by itself; `sled` and
//! `redb` are engines behind `group`, the thread that lets many transactions share one flush. `lock` keeps a second
//! process out. `docs/decisions/0006-metadata-store.md` says which is the default, and why.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

mod group;
mod lock;
pub mod memory;
pub mod redb;
mod sled;

/// The stores there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The `sled` crate. A full disk can make it unreadable, and it does not notice all damage.
    Sled,
    /// The `redb` crate.
    #[default]
    Redb,
    /// In memory: nothing is kept.
    Memory,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Redb, Kind::Sled, Kind::Memory];

    /// Its name in the configuration: `sled`, `redb`, `memory`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sled => "sled",
            Kind::Redb => "redb",
            Kind::Memory => "memory",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Kind, UnknownKind> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownKind {
            name: name.to_owned(),
        })
    }
}

/// A name that no store has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no metadata store {name:?}: choose redb, sled or memory")]
pub struct UnknownKind {
    /// The name.
    pub name: String,
}

/// Opens the store of this kind in `folder`, which is made if need be. Each kind has files of its own in it.
///
/// # Errors
/// [`KvError::InUse`] if another process has it open, [`KvError::OtherKind`] if the folder holds metadata of another kind
/// and none of this one, [`KvError::Damaged`], [`KvError::NoSpace`], [`KvError::Io`].
pub fn open(kind: Kind, folder: &Path) -> Result<Arc<dyn Kv>, KvError> {
    Ok(match kind {
        Kind::Memory => Arc::new(memory::Memory::new()),
        Kind::Sled => sled::open(folder)?,
        Kind::Redb => redb::open(folder)?,
    })
}

/// A future that a trait object can return.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An ordered key-value store.
///
/// Reads see every transaction that was acknowledged before they began. Transactions are serializable: the conditions of one
/// hold at the moment its writes happen.
pub trait Kv: Send + Sync + fmt::Debug + 'static {
    /// The implementation's name in the configuration, in lists of plugins and in errors: `sled`, `memory`.
    fn name(&self) -> &'static str;

    /// The value of a key.
    fn get<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<Option<Bytes>, KvError>>;

    /// The first `limit` pairs with `start <= key < end`, in byte order of the keys. Two pages are two reads: what changes
    /// between them may or may not be seen.
    fn range<'a>(&'a self, range: &'a Range, limit: usize) -> Pending<'a, Result<Vec<Pair>, KvError>>;

    /// Checks all conditions, then does all writes, as one step; nothing is written if a condition does not hold.
    /// With [`Durability::Durable`] the answer comes when the writes survive a power cut.
    fn commit(&self, transaction: Transaction) -> Pending<'_, Result<Outcome, KvError>>;

    /// Every committed change from now on. A receiver that is too slow is told how many changes it missed.
    fn watch(&self) -> broadcast::Receiver<Change>;

    /// Bytes on disk (0 in memory), for the metrics.
    fn size(&self) -> Pending<'_, Result<u64, KvError>>;

    /// What was done since the store was opened, for the metrics.
    fn stats(&self) -> Stats;
}

/// Counts since a store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Transactions that happened.
    pub transactions: u64,
    /// Transactions that did not, because a condition did not hold.
    pub conflicts: u64,
    /// Flushes to the disk; each makes every transaction durable that waited for it.
    pub flushes: u64,
    /// The time that those flushes took, in seconds.
    pub flush_seconds: f64,
}

/// A half-open range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first key.
    pub start: Bytes,
    /// The first key after the range; `None` for no end.
    pub end: Option<Bytes>,
}

impl Range {
    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Range {
        let start = prefix.into();
        let mut end = start.to_vec();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        let end = end
            .last_mut()
            .map(|last| *last += 1)
            .map(|()| Bytes::from(end.clone()));
        Range { start, end }
    }

    /// The rest of this range after `key`.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Range {
        let mut start = Vec::with_capacity(key.len() + 1);
        start.extend_from_slice(key);
        start.push(0);
        Range {
            start: start.into(),
            end: self.end.clone(),
        }
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// What must hold for a transaction to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key has exactly this value, or (`None`) does not exist.
    Is {
        /// The key.
        key: Bytes,
        /// What it must hold.
        value: Option<Bytes>,
    },
    /// No key begins with this.
    Empty {
        /// The prefix.
        prefix: Bytes,
    },
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a value.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Removes a key, whether it is there or not.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl Write {
    /// The key that is written.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }

    /// The value that the key has afterwards.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Write::Put { value, .. } => Some(value),
            Write::Delete { .. } => None,
        }
    }
}

/// When a transaction is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it survives a power cut.
    #[default]
    Durable,
    /// When it is visible. For what may be lost, such as a time of last use.
    Eventual,
}

/// Conditions and writes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What changes; a later write of one key wins.
    pub writes: Vec<Write>,
    /// When it is answered.
    pub durability: Durability,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Committed,
    /// A condition did not hold; nothing was written.
    Conflict,
}

/// A committed change, for [`Kv::watch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// Its value, or `None` if it was removed.
    pub value: Option<Bytes>,
}

/// Why a store could not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// Another process has the store open.
    #[error("the metadata in {path} is in use by another process{holder}; stop it, or choose another root")]
    InUse {
        /// The store's folder or file.
        path: String,
        /// What is known of the other process, such as ` (pid 17)`.
        holder: String,
    },
    /// The store's files are damaged, or of an unknown version.
    #[error("the metadata in {path} cannot be read: {reason}")]
    Damaged {
        /// The store's folder or file.
        path: String,
        /// What the implementation says.
        reason: String,
    },
    /// The folder holds metadata of another kind of store; an empty one beside it would look like a loss of everything.
    #[error(
        "the metadata in {path} is of the kind {found}, not {wanted}; choose {found} in the configuration"
    )]
    OtherKind {
        /// The folder.
        path: String,
        /// What it holds.
        found: Kind,
        /// What was to be opened.
        wanted: Kind,
    },
    /// No space is left.
    #[error("no space left for metadata; nothing of this request was stored")]
    NoSpace,
    /// An input or output error. After a failed flush nothing is known of what the disk holds: the store answers no more
    /// transactions until it is opened again.
    #[error("cannot {action} metadata: {reason}")]
    Io {
        /// What was done.
        action: &'static str,
        /// What the system says.
        reason: String,
    },
    /// The store was closed, or stopped after an error.
    #[error("the metadata store has stopped{}", because(reason))]
    Stopped {
        /// The error that stopped it, or empty.
        reason: String,
    },
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" after an error: {reason}")
    }
}

fn io_error(action: &'static str, error: &std::io::Error) -> KvError {
    use std::io::ErrorKind;
    if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return KvError::NoSpace;
    }
    KvError::Io {
        action,
        reason: error.to_string(),
    }
}

fn damaged(path: &Path, reason: String) -> KvError {
    KvError::Damaged {
        path: path.display().to_string(),
        reason,
    }
}
