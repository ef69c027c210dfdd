//! The front door: a snapshotter whose files lie in a folder of this machine.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Mutex;
use transom_meta::kv::{Kv, Pending};
use transom_meta::names::{self, Labels};
use transom_meta::snapshots::{Info, Kind, SnapshotError, Snapshotter, Usage};
use transom_sys::Mount;

use crate::driver::Driver;
use crate::error::{io, records};
use crate::folders::Folders;
use crate::limits;
use crate::native::{self, Native, NativeOptions};
use crate::overlayfs::{self, OverlayOptions, Overlayfs};
use crate::records::{Records, SnapshotRecord};
use crate::start::{self, Found};
use crate::steps::{Observer, Step, Steps};
use crate::sync::Syncs;
use crate::task::{blocking, detached};

/// The folder of a snapshotter below the daemon's root: `<root>/io.containerd.snapshotter.v1.<name>`, as in containerd.
#[must_use]
pub fn snapshotter_root(daemon: &Path, name: &str) -> PathBuf {
    daemon.join(format!("io.containerd.snapshotter.v1.{name}"))
}

/// Where a snapshotter keeps what.
#[derive(Clone)]
pub struct Place {
    /// Its records, among all other metadata.
    pub kv: Arc<dyn Kv>,
    /// Its folder; see [`snapshotter_root`]. Made if need be.
    pub root: PathBuf,
    /// Whether files are on the disk when a commit is answered. Without it a power cut can leave a committed snapshot with
    /// files that are empty, as in containerd unless a layer is applied with `sync_fs`.
    pub sync: bool,
    /// Who is told of each [`Step`](crate::Step); for tests of crashes.
    pub observer: Option<Observer>,
}

impl Place {
    /// Records in `kv`, files in `root`.
    pub fn new(kv: Arc<dyn Kv>, root: impl Into<PathBuf>) -> Place {
        Place {
            kv,
            root: root.into(),
            sync: true,
            observer: None,
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("kv", &self.kv)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// A snapshotter of this machine. Cheap to clone; clones are the same snapshotter. Two of one name on one store of metadata, or
/// on one folder, must not be open at the same time; the store's own lock sees to that between processes.
#[derive(Clone, Debug)]
pub struct Local {
    pub(crate) inner: Arc<Inner>,
    found: Arc<Found>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) records: Records,
    pub(crate) folders: Folders,
    pub(crate) driver: Box<dyn Driver>,
    /// `None` where nothing is synced.
    pub(crate) syncs: Option<Arc<Syncs>>,
    pub(crate) async_remove: bool,
    /// Held while what nothing needs is removed.
    pub(crate) cleaning: Mutex<()>,
    ids: Mutex<Range<u64>>,
}

impl Local {
    /// The overlayfs snapshotter. Looks for what a crash left ([`found`](Self::found)); [`cleanup`](Snapshotter::cleanup)
    /// removes it.
    ///
    /// # Errors
    /// [`SnapshotError::Unusable`] if overlayfs does not work in the folder, or if the folder belongs to other metadata;
    /// [`SnapshotError::Io`], [`SnapshotError::NoSpace`], [`SnapshotError::Records`].
    pub async fn overlayfs(place: Place, options: OverlayOptions) -> Result<Local, SnapshotError> {
        let (place, folders) = open(place, "overlayfs", overlayfs::check_root).await?;
        let features = match options.features {
            Some(features) => features,
            None => {
                let root = place.root.clone();
                blocking(move || crate::probe::overlayfs(&root)).await?
            }
        };
        let async_remove = options.async_remove;
        let driver = Overlayfs::new(&place.root, options, features);
        Local::start(place, folders, Box::new(driver), async_remove).await
    }

    /// The native snapshotter. Otherwise as [`overlayfs`](Self::overlayfs).
    ///
    /// # Errors
    /// As [`overlayfs`](Self::overlayfs).
    pub async fn native(place: Place, options: NativeOptions) -> Result<Local, SnapshotError> {
        let (place, folders) = open(place, "native", native::check_root).await?;
        Local::start(place, folders, Box::new(Native), options.async_remove).await
    }

    async fn start(
        place: Place,
        folders: Folders,
        driver: Box<dyn Driver>,
        async_remove: bool,
    ) -> Result<Local, SnapshotError> {
        let migrated = transom_meta::migration::run(&*place.kv, transom_meta::migration::STEPS);
        migrated.await.map_err(records)?;
        let inner = Arc::new(Inner {
            records: Records::new(place.kv, driver.name()),
            folders,
            driver,
            syncs: place.sync.then(Arc::default),
            async_remove,
            cleaning: Mutex::default(),
            ids: Mutex::default(),
        });
        let found = Arc::new(start::look(&inner).await?);
        Ok(Local { inner, found })
    }

    /// What was found when it was opened.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }
}

/// Checks and makes the folder; the place then has an absolute one.
async fn open(
    place: Place,
    snapshotter: &'static str,
    check: fn(&Path) -> Result<(), String>,
) -> Result<(Place, Folders), SnapshotError> {
    let root = std::path::absolute(&place.root).map_err(|error| io("find", &place.root, error))?;
    check(&root).map_err(|reason| unusable(snapshotter, &root, reason))?;
    let steps = Steps(place.observer.clone());
    let path = root.clone();
    let folders = blocking(move || {
        let folders = Folders::open(&path, steps)?;
        crate::probe::sweep(&path).map_err(|error| io("clean", &path, error))?;
        Ok::<_, SnapshotError>(folders)
    });
    let folders = folders.await?;
    Ok((Place { root, ..place }, folders))
}

pub(crate) fn unusable(snapshotter: &'static str, root: &Path, reason: String) -> SnapshotError {
    SnapshotError::Unusable {
        snapshotter,
        path: root.display().to_string(),
        reason,
    }
}

impl Inner {
    /// An id that was never given out before.
    pub(crate) async fn next_id(&self) -> Result<u64, SnapshotError> {
        let mut ids = self.ids.lock().await;
        if ids.is_empty() {
            *ids = self.records.reserve_ids().await?;
        }
        Ok(ids.next().unwrap_or_default())
    }

    /// Runs what blocks on a thread that may.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> T {
        let inner = Arc::clone(self);
        blocking(move || work(&inner)).await
    }

    /// Brings everything that was written to the disk, if that is wanted.
    pub(crate) async fn sync(self: &Arc<Self>) -> Result<(), SnapshotError> {
        let Some(syncs) = &self.syncs else { return Ok(()) };
        let inner = Arc::clone(self);
        let synced = syncs.wait(move || inner.folders.sync()).await;
        synced.map_err(|error| self.folders.unsynced(error))
    }

    pub(crate) fn reached(&self, step: Step) {
        self.folders.steps().reached(step);
    }

    /// A snapshot that must be there.
    pub(crate) async fn found(&self, key: &str) -> Result<SnapshotRecord, SnapshotError> {
        let found = self.records.get(key).await?;
        found.ok_or_else(|| not_found(key))
    }

    fn info(&self, key: &str, record: SnapshotRecord) -> Info {
        let shown = self.driver.shown(&self.folders, &record);
        let mut info = record.info(key);
        info.labels
            .extend(shown.map(|(label, value)| (label.to_owned(), value)));
        info
    }

    /// The mounts of a record, which must have some.
    pub(crate) fn mounts_of(&self, key: &str, record: &SnapshotRecord) -> Result<Vec<Mount>, SnapshotError> {
        if record.kind() == Kind::Committed {
            return Err(SnapshotError::State {
                what: format!("requested snapshot {key:?} not active or view"),
            });
        }
        Ok(self.driver.mounts(&self.folders, record))
    }

    async fn relabel(&self, key: &str, labels: Labels, replace: bool) -> Result<Info, SnapshotError> {
        for _ in 0..transom_meta::limits::TRIES {
            let mut txn = self.records.begin();
            let mut record = txn.get(key).await?.ok_or_else(|| not_found(key))?;
            if replace {
                record.labels.clear();
            }
            record.labels.extend(labels.clone());
            record.labels.retain(|_, value| !value.is_empty());
            record.updated = Some(SystemTime::now().into());
            txn.rewrite(key, &record);
            if txn.commit().await.map_err(records)? {
                return Ok(self.info(key, record));
            }
        }
        Err(self.records.contended(key))
    }

    async fn usage(self: &Arc<Self>, key: &str) -> Result<Usage, SnapshotError> {
        let mut record = self.found(key).await?;
        while record.kind() == Kind::Active {
            let id = record.id;
            let files = self.driver.files();
            let measured = self.blocking(move |inner| inner.folders.measure(id, files)).await;
            let failure = match measured {
                Ok(usage) => return Ok(usage),
                Err(failure) => failure,
            };
            // It may have been removed or committed meanwhile.
            let now = self.found(key).await?;
            if now == record {
                return Err(self.unmeasured(id, &failure));
            }
            record = now;
        }
        Ok(record.usage())
    }
}

pub(crate) fn not_found(key: &str) -> SnapshotError {
    SnapshotError::NotFound { key: key.to_owned() }
}

/// Checks what a request brings.
pub(crate) fn check(key: &str, labels: &Labels) -> Result<(), SnapshotError> {
    let invalid = |what: String| Err(SnapshotError::Invalid { what });
    if key.is_empty() {
        return invalid("snapshot key must not be empty".to_owned());
    }
    if key.len() > limits::KEY_BYTES {
        return invalid(format!(
            "snapshot key of {} bytes is longer than {}",
            key.len(),
            limits::KEY_BYTES
        ));
    }
    names::labels("info.Labels", labels).map_err(records)
}

impl Snapshotter for Local {
    fn name(&self) -> &str {
        self.inner.driver.name()
    }

    fn capabilities(&self) -> Vec<String> {
        self.inner.driver.capabilities()
    }

    fn root(&self) -> Option<&Path> {
        Some(self.inner.folders.root())
    }

    fn prepare<'a>(
        &'a self,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<Vec<Mount>, SnapshotError>> {
        let inner = Arc::clone(&self.inner);
        let (key, parent) = (key.to_owned(), parent.to_owned());
        detached(async move { inner.create(Kind::Active, &key, &parent, labels).await })
    }

    fn view<'a>(
        &'a self,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<Vec<Mount>, SnapshotError>> {
        let inner = Arc::clone(&self.inner);
        let (key, parent) = (key.to_owned(), parent.to_owned());
        detached(async move { inner.create(Kind::View, &key, &parent, labels).await })
    }

    fn mounts<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Vec<Mount>, SnapshotError>> {
        Box::pin(async move { self.inner.mounts_of(key, &self.inner.found(key).await?) })
    }

    fn commit<'a>(
        &'a self,
        name: &'a str,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<(), SnapshotError>> {
        let inner = Arc::clone(&self.inner);
        let (name, key, parent) = (name.to_owned(), key.to_owned(), parent.to_owned());
        detached(async move { inner.commit(&name, &key, &parent, labels).await })
    }

    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, Result<(), SnapshotError>> {
        let inner = Arc::clone(&self.inner);
        let key = key.to_owned();
        detached(async move { inner.remove(&key).await })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Info, SnapshotError>> {
        Box::pin(async move { Ok(self.inner.info(key, self.inner.found(key).await?)) })
    }

    fn update<'a>(
        &'a self,
        key: &'a str,
        labels: Labels,
        replace: bool,
    ) -> Pending<'a, Result<Info, SnapshotError>> {
        let inner = Arc::clone(&self.inner);
        let key = key.to_owned();
        detached(async move {
            check(&key, &labels)?;
            inner.relabel(&key, labels, replace).await
        })
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> Pending<'a, Result<Vec<Info>, SnapshotError>> {
        Box::pin(async move {
            let page = self.inner.records.page(after, limit).await?;
            let infos = page
                .into_iter()
                .map(|(key, record)| self.inner.info(&key, record));
            Ok(infos.collect())
        })
    }

    fn usage<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Usage, SnapshotError>> {
        Box::pin(self.inner.usage(key))
    }

    fn cleanup(&self) -> Pending<'_, Result<(), SnapshotError>> {
        let inner = Arc::clone(&self.inner);
        detached(async move { inner.cleanup().await })
    }
}
