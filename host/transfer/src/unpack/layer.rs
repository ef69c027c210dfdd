//! One layer: prepared, applied, compared with what the configuration says; and then committed, or removed again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::SemaphorePermit;
use transom_layer::native::needs_processor;
use transom_meta::{Class, Error, Labels};
use transom_oci::{Descriptor, Digest};
use transom_sys::Mount;

use super::job::Shared;
use super::locks::Locked;
use super::parts::{Applied, Layer, Sealed};
use super::{UnpackError, image, tell};
use crate::arriving::Arriving;
use crate::artifacts::{self, Made};
use crate::limits;
use crate::progress::{EXTRACTED, EXTRACTING};

const REF: &str = "containerd.io/snapshot.ref";
/// Labels with this prefix are the snapshotter's, too.
const INHERITED: &str = "containerd.io/snapshot/";
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// How often it is told how far a layer is.
const TELL_EVERY: Duration = Duration::from_millis(300);

/// A layer to unpack.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: Digest,
    /// The name of the snapshot that it becomes.
    pub(super) chain_id: Digest,
    /// The name of the one below.
    pub(super) below: Option<Digest>,
    pub(super) snapshotter: String,
    /// Whether it gets that one as its parent only when it is committed.
    pub(super) rebase: bool,
    /// For events.
    pub(super) parents: Vec<String>,
}

/// A layer in an active snapshot.
#[derive(Debug)]
pub(super) struct Extracted {
    work: Work,
    key: String,
    /// The snapshotter had it already: the blob was not looked at.
    staged: bool,
    /// What processors wrote about it.
    made: Vec<Made>,
    _lock: Locked,
}

/// Where the bytes of a layer are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// Beside their arrival, if they have not arrived.
    Anywhere,
    /// In the store.
    Store,
}

/// Puts a layer into an active snapshot, or finds that it is unpacked already. After an error nothing is left of it.
pub(super) async fn extract(shared: &Arc<Shared>, work: Work) -> Result<Option<Extracted>, UnpackError> {
    match try_extract(shared, work.clone(), From::Anywhere).await {
        // What was read along turned out to be wrong. Perhaps it is fetched again, and right then.
        Err((_, true)) => try_extract(shared, work, From::Store).await,
        done => done,
    }
    .map_err(|(error, _)| error)
}

/// As [`extract`]; an error says whether the bytes were lost.
async fn try_extract(
    shared: &Arc<Shared>,
    work: Work,
    from: From,
) -> Result<Option<Extracted>, (UnpackError, bool)> {
    let prepared = begin(shared, &work, from).await.map_err(|error| (error, false))?;
    let Some((lock, key, mounts)) = prepared else {
        tell(&*shared.progress, EXTRACTED, &work, work.descriptor.size);
        return Ok(None);
    };
    let staged = is_staged(&mounts);
    let mut extracted = Extracted {
        work,
        key,
        staged,
        made: Vec::new(),
        _lock: lock,
    };
    match extracted.fill(shared, mounts, from).await {
        Ok(()) => Ok(Some(extracted)),
        Err(error) => {
            extracted.remove(shared).await;
            Err(error)
        }
    }
}

/// Waits for the layer's bytes and for its turn, and prepares its snapshot; none if it is unpacked already.
async fn begin(
    shared: &Shared,
    work: &Work,
    from: From,
) -> Result<Option<(Locked, String, Vec<Mount>)>, UnpackError> {
    let caller = shared.hold.caller();
    let name = work.chain_id.to_string();
    let snapshots = &shared.unpacker.snapshots;
    // Others wait for the lock: it is not held while a client is slow.
    if snapshots.stat(caller, &work.snapshotter, &name).await.is_err() {
        let digest = &work.descriptor.digest;
        match from {
            From::Anywhere => drop(shared.unless_stopped(shared.arrivals.readable(digest)).await?),
            From::Store => shared.unless_stopped(shared.arrivals.wait(digest)).await?,
        }
    }
    let lock = format!("{}/{}/{name}", caller.namespace, work.snapshotter);
    let lock = shared.unless_stopped(shared.unpacker.locks.lock(lock)).await?;
    let Some((key, mounts)) = prepare(shared, work).await? else {
        drop(lock);
        work.authorize(shared).await?;
        return Ok(None);
    };
    Ok(Some((lock, key, mounts)))
}

/// Prepares a snapshot; none if the layer is unpacked already.
async fn prepare(shared: &Shared, work: &Work) -> Result<Option<(String, Vec<Mount>)>, UnpackError> {
    let (caller, snapshots) = (shared.hold.caller(), &shared.unpacker.snapshots);
    let name = work.chain_id.to_string();
    let below = work.below.as_ref().filter(|_| !work.rebase);
    let parent = below.map(Digest::to_string).unwrap_or_default();
    let mut tries = 0;
    loop {
        tries += 1;
        let key = format!("extract-{} {name}", unique());
        let labels = work.labels();
        let prepared = snapshots.prepare(caller, &work.snapshotter, &key, &parent, labels);
        let source = match prepared.await {
            Ok(mounts) => return Ok(Some((key, mounts))),
            Err(source) => source,
        };
        if source.class() == Class::AlreadyExists {
            match snapshots.stat(caller, &work.snapshotter, &name).await {
                Ok(_) => return Ok(None),
                // Removed meanwhile.
                Err(Error::NotFound { .. }) if tries < limits::PREPARE_TRIES => continue,
                Err(source) => return Err(failed("look at", &name, source)),
            }
        }
        return Err(failed("prepare", &key, source));
    }
}

impl Work {
    /// Waits for the blob. It is there, unless a snapshot that was there has gone since.
    async fn arrive(&self, shared: &Shared) -> Result<(), UnpackError> {
        let layer = &self.descriptor.digest;
        shared.unless_stopped(shared.arrivals.wait(layer)).await?;
        match shared.metadata.content_info(shared.hold.caller(), layer).await {
            Ok(_) => Ok(()),
            Err(Error::NotFound { .. }) => {
                let digest = layer.clone();
                Err(UnpackError::MissingLayer { digest })
            }
            Err(error) => Err(Box::new(error).into()),
        }
    }

    /// Makes sure that a layer may be used that need not be applied.
    async fn authorize(&self, shared: &Shared) -> Result<(), UnpackError> {
        if !needs_processor(&self.descriptor.media_type) {
            return Ok(());
        }
        self.arrive(shared).await?;
        let layer = Sealed {
            caller: shared.hold.caller(),
            descriptor: &self.descriptor,
            diff_id: &self.diff_id,
            cancel: &shared.cancel,
        };
        let permit = shared.unpacker.permits.acquire();
        let _permit = shared.unless_stopped(permit).await?;
        let image = self.parents.first().map_or("", String::as_str);
        shared.unpacker.allow(image, layer).await
    }

    /// The labels of its snapshot: those that the layer's annotations give to snapshots, and what it is.
    fn labels(&self) -> Labels {
        let annotations = self.descriptor.annotations.iter();
        let inherited = annotations.filter(|(key, _)| *key == REF || key.starts_with(INHERITED));
        let mut labels: Labels = inherited
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        labels.insert(REF.to_owned(), self.chain_id.to_string());
        labels.insert(format!("{INHERITED}diff-id"), self.diff_id.to_string());
        if let Some(below) = &self.below {
            labels.insert(format!("{INHERITED}parent-chain-id"), below.to_string());
        }
        labels
    }

    /// The mounts to apply it to. A snapshot without its parent is a plain folder, which the applier must take for the upper
    /// folder of an overlay, or it would write whiteouts as nobody reads them.
    fn mounts(&self, mounts: Vec<Mount>) -> Vec<Mount> {
        let upper = self.rebase && self.below.is_some() && self.snapshotter == "overlayfs";
        match mounts.as_slice() {
            [bind] if upper && bind.kind == "bind" => {
                let options = bind.options.iter().filter(|option| *option != "rbind");
                let upper = format!("upperdir={}", bind.source);
                vec![Mount {
                    kind: "overlay".to_owned(),
                    source: "overlay".to_owned(),
                    target: String::new(),
                    options: options.cloned().chain([upper]).collect(),
                }]
            }
            _ => mounts,
        }
    }
}

impl Work {
    /// Whether the bytes were wrong that a layer was applied from while it arrived. Where they may explain the error, their end is
    /// waited for: only the digest tells.
    async fn was_lost(&self, shared: &Shared, along: &Arriving, error: &UnpackError) -> bool {
        if error.class() == Class::Unknown && !along.is_lost() {
            let arrived = shared.arrivals.wait(&self.descriptor.digest);
            // If all is stopped, nothing is tried again anyway.
            let _ = shared.unless_stopped(arrived).await;
        }
        along.is_lost()
    }
}

/// The right to apply a layer, with its bytes if they are still arriving.
type Turn<'s> = (SemaphorePermit<'s>, Option<Arriving>);

impl Work {
    /// Waits for a turn. Those that read along have turns of their own, so that a slow registry keeps nobody from unpacking
    /// what is here.
    async fn turn<'s>(&self, shared: &'s Shared, from: From) -> Result<Turn<'s>, UnpackError> {
        let unpacker = &shared.unpacker;
        let stored = async {
            self.arrive(shared).await?;
            let permit = shared.unless_stopped(unpacker.permits.acquire()).await?;
            Ok((permit.map_err(|_| UnpackError::Stopped)?, None))
        };
        if from == From::Store {
            return stored.await;
        }
        let along = async {
            match shared.arrivals.readable(&self.descriptor.digest).await {
                Some(arriving) => (unpacker.along.acquire().await, arriving),
                // It is there: then it is read from the store.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            turn = stored => turn,
            (permit, arriving) = along => Ok((permit.map_err(|_| UnpackError::Stopped)?, Some(arriving))),
        }
    }
}

impl Extracted {
    /// Applies the layer; an error says whether its bytes were lost.
    async fn fill(
        &mut self,
        shared: &Shared,
        mounts: Vec<Mount>,
        from: From,
    ) -> Result<(), (UnpackError, bool)> {
        let work = &self.work;
        if self.staged {
            return work.authorize(shared).await.map_err(|error| (error, false));
        }
        let turn = work.turn(shared, from).await;
        let (_permit, along) = turn.map_err(|error| (error, false))?;
        let mounts = work.mounts(mounts);
        match self.apply(shared, &mounts, along.as_ref()).await {
            Ok(Applied { diff_id, made }) if diff_id == work.diff_id => {
                self.made = made;
                Ok(())
            }
            Ok(Applied { diff_id: actual, .. }) => {
                let error = UnpackError::DiffId {
                    layer: work.descriptor.digest.clone(),
                    expected: work.diff_id.clone(),
                    actual,
                };
                Err((error, false))
            }
            Err(error) => {
                let lost = match &along {
                    Some(along) => work.was_lost(shared, along, &error).await,
                    None => false,
                };
                Err((error, lost))
            }
        }
    }

    /// Applies the layer, and tells how far it is.
    async fn apply(
        &self,
        shared: &Shared,
        mounts: &[Mount],
        along: Option<&Arriving>,
    ) -> Result<Applied, UnpackError> {
        let work = &self.work;
        let read = Arc::new(AtomicU64::new(0));
        let layer = Layer {
            caller: shared.hold.caller(),
            descriptor: &work.descriptor,
            mounts,
            along,
            cancel: &shared.cancel,
            read: Arc::clone(&read),
        };
        let mut applied = shared.unpacker.applier.apply(layer);
        let mut ticks = tokio::time::interval(TELL_EVERY);
        let done = loop {
            tokio::select! {
                done = &mut applied => break done,
                _ = ticks.tick() => {
                    tell(&*shared.progress, EXTRACTING, work, read.load(Ordering::Relaxed));
                }
            }
        };
        done.map_err(|source| UnpackError::Apply {
            layer: work.descriptor.digest.clone(),
            snapshotter: work.snapshotter.clone(),
            key: self.key.clone(),
            source,
        })
    }

    /// Makes it a snapshot on the one below, which is there. Removes it if that fails.
    pub(super) async fn commit(self, shared: &Shared) -> Result<(), UnpackError> {
        let (work, caller) = (&self.work, shared.hold.caller());
        if !self.staged
            && let Err(error) = work.arrive(shared).await
        {
            // Its bytes were right, but they are no content.
            self.remove(shared).await;
            return Err(error);
        }
        let name = work.chain_id.to_string();
        let below = work.below.as_ref().filter(|_| work.rebase);
        let parent = below.map(Digest::to_string).unwrap_or_default();
        let snapshots = &shared.unpacker.snapshots;
        let commit = snapshots.commit(
            caller,
            &work.snapshotter,
            &name,
            &self.key,
            &parent,
            work.labels(),
        );
        // What the blob is uncompressed is known whatever becomes of the snapshot; both may share a flush.
        let (committed, labelled) = tokio::join!(commit, self.label(shared));
        match committed {
            Ok(()) => {}
            Err(source) if source.class() == Class::AlreadyExists => self.remove(shared).await,
            Err(source) => {
                self.remove(shared).await;
                return Err(failed("commit", &name, source));
            }
        }
        labelled?;
        tell(&*shared.progress, EXTRACTED, work, work.descriptor.size);
        Ok(())
    }

    /// Says of the blob what it is uncompressed, and what was written about it.
    async fn label(&self, shared: &Shared) -> Result<(), UnpackError> {
        if self.staged {
            return Ok(());
        }
        let (metadata, caller) = (&shared.metadata, shared.hold.caller());
        let kept = artifacts::keep(metadata, caller, &self.work.descriptor.digest, &self.made).await;
        kept.map_err(Box::new)?;
        let labels = Labels::from([(UNCOMPRESSED.to_owned(), self.work.diff_id.to_string())]);
        image::label(shared, &self.work.descriptor, labels, UNCOMPRESSED).await
    }

    /// Removes what was prepared.
    pub(super) async fn remove(&self, shared: &Shared) {
        let (snapshots, caller) = (&shared.unpacker.snapshots, shared.hold.caller());
        match snapshots.remove(caller, &self.work.snapshotter, &self.key).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => tracing::warn!(%error, key = self.key, "a snapshot is left to the collector"),
        }
    }
}

/// Whether a snapshotter has put the layer's files into the snapshot itself: then there is nothing that could be written to.
fn is_staged(mounts: &[Mount]) -> bool {
    let read_only = |mount: &Mount| mount.options.iter().any(|option| option == "ro");
    mounts.last().is_some_and(read_only)
}

fn failed(what: &'static str, key: &str, source: Error) -> UnpackError {
    UnpackError::Snapshot {
        what,
        key: key.to_owned(),
        source: Box::new(source),
    }
}

/// In containerd's form: the nanoseconds of the clock, a dash, 24 random bits.
fn unique() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.subsec_nanos());
    // The standard library seeds it from the system.
    let random = RandomState::new().build_hasher().finish();
    let letters = (0..4).map(|place| char::from(LETTERS[(random >> (6 * place)) as usize & 63]));
    format!("{nanos}-{}", letters.collect::<String>())
}
