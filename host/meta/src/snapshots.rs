//! Snapshots: what a namespace calls them, what they are labelled with, and what keeps them.
//!
//! Read in this order: [`snapshotter`] (the trait of those that keep the files), this file (the snapshots of one snapshotter,
//! looked up), `create` (prepare and view), `adopt` (a snapshotter that has it already), `commit`, `change` (labels, removal),
//! `list`; then what keeps records and files together: `claims` (who is busy with which key), `part` (the
//! collector's side), `sweep` (files without a record), `interrupted` (a commit that a crash cut in two). `view` is what
//! filters see.
//!
//! A snapshotter knows a snapshot as `<namespace>/<number>/<key>`, so that two namespaces may use one key, and a key may be used
//! again before the files of the last one have gone. A committed snapshot keeps the number of the active one.
//!
//! Files first, then the record: a crash between leaves files without a record, which the next collection removes. On removal it
//! is the other way round, and the collection does it all. No transaction is open while a snapshotter works.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use transom_sys::Mount;

use crate::leases;
use crate::metadata::Inner;
use crate::names::{self, Caller, Labels, Namespace};
use crate::record::{LeaseRecord, SnapshotRecord, Time, time};
use crate::{Error, Metadata, Node, key};

mod adopt;
mod change;
mod claims;
mod commit;
mod create;
mod interrupted;
mod list;
mod part;
pub mod snapshotter;
mod sweep;
mod view;

use claims::{Claim, Claims};
pub(crate) use part::Part;
pub use snapshotter::{Info, Kind, SnapshotError, Snapshotter, Usage};
pub(crate) use sweep::generations;

/// Names the committed snapshot that a prepared one is to become: if it is there already, nothing is prepared.
const REFERENCE: &str = "containerd.io/snapshot.ref";
/// Labels that begin like this, and [`REFERENCE`], are the snapshotter's business, too.
const INHERITED: &str = "containerd.io/snapshot/";
/// What the errors call a snapshot's labels.
const LABELS: &str = "info.Labels";

/// The snapshotters that are loaded.
#[derive(Debug, Default)]
pub(crate) struct Snapshotters {
    loaded: RwLock<BTreeMap<String, Arc<Loaded>>>,
}

/// A snapshotter, and what goes on in it.
#[derive(Debug)]
struct Loaded {
    backend: Arc<dyn Snapshotter>,
    claims: Arc<Claims>,
    /// Held for reading by who gives a snapshot that is in the backend already a record, for writing by the sweep.
    adoptions: tokio::sync::RwLock<()>,
    /// Whether the backend may have snapshots without a record.
    dirty: AtomicBool,
}

impl Snapshotters {
    fn find(&self, name: &str) -> Option<Arc<Loaded>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Loaded>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.values().cloned().collect()
    }
}

impl Metadata {
    /// Loads a snapshotter, under its name, and finishes what a crash has cut off in it. What it has without a record is removed by
    /// the next collection.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if it cannot list what it has, [`Error::Kv`].
    pub async fn add_snapshotter(&self, backend: Arc<dyn Snapshotter>) -> Result<(), Error> {
        let name = backend.name().to_owned();
        let loaded = Arc::new(Loaded {
            backend,
            claims: Arc::default(),
            adoptions: tokio::sync::RwLock::default(),
            dirty: AtomicBool::new(true),
        });
        let snapshots = Snapshots {
            inner: Arc::clone(&self.inner),
            loaded: Arc::clone(&loaded),
        };
        snapshots.finish_interrupted().await?;
        let all = &self.inner.snapshotters.loaded;
        let mut all = all.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name, loaded);
        Ok(())
    }

    /// The snapshots of the snapshotter of this name.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not loaded.
    pub fn snapshots(&self, snapshotter: &str) -> Result<Snapshots, Error> {
        let invalid = |what: String| Err(Error::Invalid { what });
        if snapshotter.is_empty() {
            return invalid("snapshotter argument missing".to_owned());
        }
        match self.inner.snapshotters.find(snapshotter) {
            Some(loaded) => Ok(Snapshots {
                inner: Arc::clone(&self.inner),
                loaded,
            }),
            None => invalid(format!("snapshotter not loaded: {snapshotter}")),
        }
    }
}

/// The snapshots of one snapshotter, in all namespaces. Cheap to clone.
#[derive(Clone)]
pub struct Snapshots {
    inner: Arc<Inner>,
    loaded: Arc<Loaded>,
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("backend", &self.loaded.backend)
            .finish_non_exhaustive()
    }
}

impl Snapshots {
    /// What the snapshotter can do; see [`Snapshotter::capabilities`].
    #[must_use]
    pub fn capabilities(&self) -> Vec<String> {
        self.loaded.backend.capabilities()
    }

    /// What is known of a snapshot: one read.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn stat(&self, caller: &Caller, key: &str) -> Result<Info, Error> {
        let record = self.record(&caller.namespace, key).await?;
        Ok(info(key, record))
    }

    /// The mounts of a view or an active snapshot. Nothing is mounted by this.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FailedPrecondition`] for a committed one; [`Error::Snapshot`].
    pub async fn mounts(&self, caller: &Caller, key: &str) -> Result<Vec<Mount>, Error> {
        let record = self.record(&caller.namespace, key).await?;
        if kind(&record) == Kind::Committed {
            return Err(Error::FailedPrecondition {
                what: format!("requested snapshot {key} not active or view"),
            });
        }
        Ok(self.loaded.backend.mounts(&record.backend).await?)
    }

    /// What a snapshot takes on disk without its parents.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Snapshot`].
    pub async fn usage(&self, caller: &Caller, key: &str) -> Result<Usage, Error> {
        let record = self.record(&caller.namespace, key).await?;
        Ok(self.loaded.backend.usage(&record.backend).await?)
    }

    fn name(&self) -> &str {
        self.loaded.backend.name()
    }

    fn key(&self, namespace: &Namespace, key: &str) -> bytes::Bytes {
        key::snapshot(namespace, self.name(), key)
    }

    fn node(&self, namespace: &Namespace, key: &str) -> Node {
        Node::Snapshot(namespace.clone(), self.name().to_owned(), key.to_owned())
    }

    /// The type of a lease's resource that is one of these snapshots.
    fn resource(&self) -> String {
        format!("{}/{}", leases::SNAPSHOTS, self.name())
    }

    async fn find(&self, namespace: &Namespace, key: &str) -> Result<Option<SnapshotRecord>, Error> {
        self.inner.get(&self.key(namespace, key)).await
    }

    async fn record(&self, namespace: &Namespace, key: &str) -> Result<SnapshotRecord, Error> {
        self.find(namespace, key).await?.ok_or_else(|| missing(key))
    }

    /// Makes sure that nobody else changes the keys in `alone` and removes those in `shared`, and that the collector keeps
    /// them for as long.
    async fn claim(&self, namespace: &Namespace, alone: &[&str], shared: &[&str]) -> Claim {
        let claim = self.loaded.claims.take(namespace, alone, shared).await;
        let keys = alone.iter().chain(shared).filter(|key| !key.is_empty());
        let nodes = keys.map(|key| self.node(namespace, key)).collect();
        // A collection under way learns of them now, and a later one asks for claims. Not while one removes something.
        let _gate = self.inner.gate.read().await;
        self.inner.barrier.touch(nodes);
        claim
    }

    /// Refuses a lease that is not there, before files are made for it.
    async fn check_lease(&self, caller: &Caller) -> Result<(), Error> {
        let Some(lease) = &caller.lease else {
            return Ok(());
        };
        let key = key::of(key::Kind::Lease, &caller.namespace, lease);
        match self.inner.get::<LeaseRecord>(&key).await? {
            Some(_) => Ok(()),
            None => Err(Error::NotFound {
                object: "lease does not exist".to_owned(),
            }),
        }
    }

    /// The backend may have something that no record names: the next collection looks.
    fn leaves_files(&self) {
        self.loaded.dirty.store(true, Ordering::SeqCst);
    }
}

fn check_key(what: &'static str, key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::Invalid {
            what: format!("{what} must not be empty"),
        });
    }
    names::length(what, key)
}

/// The labels that the snapshotter is told of.
fn inherited(labels: &Labels) -> Labels {
    let is_its = |key: &str| key == REFERENCE || key.starts_with(INHERITED);
    let its = labels.iter().filter(|(key, _)| is_its(key));
    its.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn info(key: &str, record: SnapshotRecord) -> Info {
    Info {
        kind: kind(&record),
        name: key.to_owned(),
        parent: record.parent,
        labels: record.labels,
        created: time(record.created),
        updated: time(record.updated),
    }
}

fn kind(record: &SnapshotRecord) -> Kind {
    match record.kind {
        1 => Kind::View,
        2 => Kind::Active,
        _ => Kind::Committed,
    }
}

fn number(kind: Kind) -> u32 {
    match kind {
        Kind::View => 1,
        Kind::Active => 2,
        Kind::Committed => 3,
    }
}

/// A record that was made now.
fn new_record(kind: Kind, backend: String, parent: String, labels: Labels) -> SnapshotRecord {
    let now = Some(Time::from(std::time::SystemTime::now()));
    SnapshotRecord {
        labels,
        backend,
        parent,
        kind: number(kind),
        created: now,
        updated: now,
    }
}

/// The key of a snapshot in its snapshotter.
fn backend_key(namespace: &Namespace, number: u64, key: &str) -> String {
    format!("{namespace}/{number}/{key}")
}

/// Namespace, number and client's key of a key made by [`backend_key`].
fn parse_backend(backend: &str) -> Option<(Namespace, u64, &str)> {
    let (namespace, rest) = backend.split_once('/')?;
    let (number, key) = rest.split_once('/')?;
    Some((Namespace::new(namespace).ok()?, number.parse().ok()?, key))
}

/// The part of such a key that an active snapshot and the one committed of it have in common.
pub(crate) fn numbered(backend: &str) -> Option<&str> {
    let (_, _, key) = parse_backend(backend)?;
    backend.strip_suffix(key)
}

fn object(key: &str) -> String {
    format!("snapshot {key:?}")
}

fn exists(key: &str) -> Error {
    Error::AlreadyExists { object: object(key) }
}

fn missing(key: &str) -> Error {
    Error::NotFound {
        object: format!("snapshot {key} does not exist"),
    }
}

fn missing_parent(parent: &str) -> Error {
    Error::Snapshot(SnapshotError::ParentNotFound {
        parent: parent.to_owned(),
    })
}

fn not_committed(parent: &str) -> Error {
    Error::Snapshot(SnapshotError::ParentNotCommitted {
        parent: parent.to_owned(),
    })
}
