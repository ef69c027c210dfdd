//! The front door: all metadata of one daemon.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::{Notify, RwLock};
use tokio::task::JoinError;

use crate::content::DigestLocks;
use crate::events::Exchange;
use crate::filter::{Fields, FilterError, Filters, Plugins};
use crate::gc::Collector;
use crate::images::Admission;
use crate::kv::{Kv, Range};
use crate::record::{CounterRecord, decode};
use crate::snapshots::Snapshotters;
use crate::transaction::{Tries, Txn};
use crate::{Error, Node, key, limits, migration};

/// Everything that is known of images, content, snapshots, leases and namespaces. Cheap to clone; clones are the same metadata.
#[derive(Clone, Debug)]
pub struct Metadata {
    pub(crate) inner: Arc<Inner>,
}

/// How metadata behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a blob that one namespace has can be had by another that names its digest, without sending the bytes.
    pub sharing: Sharing,
    /// How long content is kept that was ingested without a lease and that nothing has referenced yet.
    pub grace: Duration,
    /// How long an ingest without a lease is kept since it was last opened; containerd's 24 hours.
    pub ingest_expiry: Duration,
    /// The filter plugins that a list may name.
    pub plugins: Plugins,
    /// Who is asked before there is an image; nobody if `None`.
    pub admission: Option<Arc<dyn Admission>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            sharing: Sharing::Shared,
            grace: Duration::from_secs(3600),
            ingest_expiry: Duration::from_secs(24 * 3600),
            plugins: Plugins::default(),
            admission: None,
        }
    }
}

/// The content sharing policy; containerd's `content_sharing_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Every namespace shares its blobs.
    Shared,
    /// Only namespaces with the label `containerd.io/namespace.shareable=true` share theirs.
    Isolated,
}

pub(crate) struct Inner {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) blobs: transom_content::Store,
    pub(crate) options: Options,
    pub(crate) events: Exchange,
    /// Held for reading by every transaction, for writing by the collector's short exclusive steps.
    pub(crate) gate: Arc<RwLock<()>>,
    pub(crate) barrier: Barrier,
    pub(crate) activity: Arc<Activity>,
    pub(crate) collector: Collector,
    pub(crate) digests: DigestLocks,
    pub(crate) snapshotters: Snapshotters,
    sequence: Sequence,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("kv", &self.kv)
            .field("blobs", &self.blobs)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Metadata {
    /// Metadata in `kv` about the blobs in `blobs`. An empty store is given its version; an older one is migrated.
    ///
    /// # Errors
    /// [`Error::Record`] if the store is of a version that this program does not know, [`Error::Kv`].
    pub async fn open(
        kv: Arc<dyn Kv>,
        blobs: transom_content::Store,
        options: Options,
    ) -> Result<Metadata, Error> {
        let inner = Inner {
            kv,
            blobs,
            options,
            events: Exchange::default(),
            gate: Arc::default(),
            barrier: Barrier::default(),
            activity: Arc::default(),
            collector: Collector::default(),
            digests: DigestLocks::default(),
            snapshotters: Snapshotters::default(),
            sequence: Sequence::default(),
        };
        migration::run(&*inner.kv, migration::STEPS).await?;
        Ok(Metadata {
            inner: Arc::new(inner),
        })
    }

    /// Where events are published and subscribed to.
    #[must_use]
    pub fn events(&self) -> &Exchange {
        &self.inner.events
    }

    /// The store of the blobs' bytes.
    #[must_use]
    pub fn blobs(&self) -> &transom_content::Store {
        &self.inner.blobs
    }

    /// A number that is another one whenever images of any namespace were made, changed or removed since.
    #[must_use]
    pub fn images_generation(&self) -> u64 {
        self.inner.activity.images.load(Ordering::Acquire)
    }

    /// Whether namespaces share blobs.
    #[must_use]
    pub fn sharing(&self) -> Sharing {
        self.inner.options.sharing
    }

    /// The key-value store.
    #[must_use]
    pub fn kv(&self) -> &Arc<dyn Kv> {
        &self.inner.kv
    }
}

impl Inner {
    pub(crate) async fn begin(&self) -> Txn<'_> {
        Txn::begin(self).await
    }

    /// A record, outside of any transaction.
    pub(crate) async fn get<R: Message + Default>(&self, key: &[u8]) -> Result<Option<R>, Error> {
        let value = self.kv.get(key).await?;
        value.as_deref().map(|value| decode(key, value)).transpose()
    }

    /// A page of a range, and the rest of the range if there is more.
    pub(crate) async fn page<R: Message + Default>(
        &self,
        range: &Range,
    ) -> Result<(Vec<(Bytes, R)>, Option<Range>), Error> {
        let pairs = self.kv.range(range, limits::PAGE).await?;
        let rest = match pairs.last() {
            Some(last) if pairs.len() == limits::PAGE => Some(range.after(&last.key)),
            _ => None,
        };
        let records = pairs
            .into_iter()
            .map(|pair| decode(&pair.key, &pair.value).map(|record| (pair.key, record)));
        Ok((records.collect::<Result<_, _>>()?, rest))
    }

    /// All keys of a range.
    pub(crate) async fn keys(&self, mut range: Range) -> Result<Vec<Bytes>, Error> {
        let mut keys = Vec::new();
        loop {
            let pairs = self.kv.range(&range, limits::PAGE).await?;
            let Some(last) = pairs.last() else {
                return Ok(keys);
            };
            range = range.after(&last.key);
            let last = pairs.len() < limits::PAGE;
            keys.extend(pairs.into_iter().map(|pair| pair.key));
            if last {
                return Ok(keys);
            }
        }
    }

    /// A number that was never given out before, also not before a crash.
    pub(crate) async fn next_number(&self) -> Result<u64, Error> {
        let mut sequence = self.sequence.numbers.lock().await;
        if sequence.is_empty() {
            let key = Bytes::from_static(key::SEQUENCE);
            let mut tries = Tries::new();
            loop {
                tries.next(|| "the sequence of the metadata".to_owned())?;
                let mut txn = self.begin().await;
                let start = txn.get::<CounterRecord>(&key).await?.unwrap_or_default().next;
                let next = start + SEQUENCE_BLOCK;
                txn.put(key.clone(), &CounterRecord { next });
                if txn.commit().await? {
                    *sequence = start..next;
                    break;
                }
            }
        }
        Ok(sequence.next().unwrap_or_default())
    }
}

/// Numbers reserved by one durable write; a crash skips the rest of them.
const SEQUENCE_BLOCK: u64 = 1024;

/// The records that match. Plugins are asked on a thread that may block.
pub(crate) async fn matching<T>(filters: &Arc<Filters>, mut records: Vec<T>) -> Result<Vec<T>, FilterError>
where
    T: Fields + Send + 'static,
{
    if !filters.has_plugins() {
        filters.retain(&mut records)?;
        return Ok(records);
    }
    let filters = Arc::clone(filters);
    let ask = move || filters.retain(&mut records).map(|()| records);
    joined(tokio::task::spawn_blocking(ask).await)
}

/// What a task on another thread gave; its panic goes on here.
pub(crate) fn joined<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(value) => value,
        // Nobody aborts these tasks, so it is a panic, or the runtime is being shut down.
        Err(error) => std::panic::resume_unwind(match error.try_into_panic() {
            Ok(panic) => panic,
            Err(error) => Box::new(error.to_string()),
        }),
    }
}

#[derive(Default)]
struct Sequence {
    numbers: tokio::sync::Mutex<std::ops::Range<u64>>,
}

/// What transactions touch while a collection marks: grey nodes of its graph.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    touched: Mutex<Option<Vec<Node>>>,
}

impl Barrier {
    /// From now on nodes are remembered.
    pub(crate) fn raise(&self) {
        *self.lock() = Some(Vec::new());
    }

    /// Nodes are not remembered any more.
    pub(crate) fn lower(&self) {
        *self.lock() = None;
    }

    pub(crate) fn touch(&self, nodes: Vec<Node>) {
        if let Some(touched) = self.lock().as_mut() {
            touched.extend(nodes);
        }
    }

    /// The nodes touched since the last time.
    pub(crate) fn drain(&self) -> Vec<Node> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Node>>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has happened since the last collection, for its scheduler.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    pub(crate) mutations: AtomicU64,
    pub(crate) deletions: AtomicU64,
    pub(crate) changed: Notify,
    /// Transactions that changed images; never forgotten.
    images: AtomicU64,
}

impl Activity {
    pub(crate) fn count(&self, removed: u64) {
        self.mutations.fetch_add(1, Ordering::Relaxed);
        self.deletions.fetch_add(removed, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub(crate) fn images_changed(&self, changed: bool) {
        self.images.fetch_add(u64::from(changed), Ordering::Release);
    }

    /// Forgets it: a collection begins.
    pub(crate) fn reset(&self) {
        self.mutations.store(0, Ordering::Relaxed);
        self.deletions.store(0, Ordering::Relaxed);
    }
}
