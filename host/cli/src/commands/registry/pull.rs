//! An image from a registry for `transom unpack`: its documents first, then its layers, which are unpacked while they come. They
//! lie in a layout folder that is gone afterwards.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use transom_client::fetch::{Follow, Followed, Follower};
use transom_client::images::Observer;
use transom_client::{Got, Reference, Remote};
use transom_content::Partial;
use transom_image::unpack::Layers;
use transom_image::{ImageError, Layer};
use transom_layer::cancel::{Cancel, CancelHook};
use transom_oci::{Descriptor, Digest, Manifest, Platform, media_type};
use transom_transfer::arriving::Arriving;

use super::copy::Shown;
use super::layout::Layout;
use super::settings;
use crate::arguments::{Progress, Registries};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::{limits, places};

/// How an image of a registry begins.
const TRANSPORT: &str = "docker://";

/// Whether this names an image of a registry.
pub(crate) fn is_remote(image: &std::ffi::OsStr) -> bool {
    image.to_str().is_some_and(|text| text.starts_with(TRANSPORT))
}

/// An image whose documents are here, and whose layers are coming.
#[derive(Debug)]
pub(crate) struct Coming {
    folder: TempDir,
    blobs: Arc<Blobs>,
    /// Ends the fetches with it.
    runtime: Option<Runtime>,
}

/// The layers by their digests.
#[derive(Debug)]
struct Blobs {
    store: transom_content::Store,
    cancel: Cancel,
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    begun: HashMap<Digest, Arriving>,
    here: HashSet<Digest>,
    /// All fetches have ended; perhaps with a failure.
    ended: Option<Result<(), Failure>>,
}

/// Fetches the documents of the image for a platform, and begins with its layers.
pub(crate) fn begin(
    image: &str,
    platform: Option<&Platform>,
    flags: &Registries,
    progress: Progress,
    interrupt: &Interrupt,
) -> Result<Coming, Failure> {
    let name: Reference = image.parse()?;
    let place = places::temporary();
    let folder = tempfile::Builder::new()
        .prefix("transom-")
        .tempdir_in(&place)
        .map_err(|error| Failure::io(place.display(), &error))?;
    let layout = Layout::open(folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the client", &error))?;
    let observer: Arc<dyn Observer> = Shown::new(progress);
    let (remote, layers) = runtime.block_on(async {
        tokio::select! {
            found = documents(&name, platform, flags, &layout, &observer) => found,
            () = interrupt.requested() => Err(Failure::interrupted()),
        }
    })?;
    let blobs = Arc::new(Blobs {
        store: layout.store.clone(),
        cancel: interrupt.cancel(),
        known: Mutex::default(),
        changed: Condvar::new(),
    });
    runtime.spawn(Arc::clone(&blobs).fetch(remote, layers, observer));
    Ok(Coming {
        folder,
        blobs,
        runtime: Some(runtime),
    })
}

/// Brings manifest and configuration into the layout; gives the layers.
async fn documents(
    name: &Reference,
    platform: Option<&Platform>,
    flags: &Registries,
    layout: &Layout,
    observer: &Arc<dyn Observer>,
) -> Result<(Remote, Vec<Descriptor>), Failure> {
    let remote = settings::client(flags, name.repository.registry())?.remote(&name.repository)?;
    let found = remote.resolve(&name.target()).await?;
    let host = Platform::host();
    let image = remote.for_platform(found, platform.unwrap_or(&host)).await?;
    let fetched = remote.manifest(image.digest.as_str()).await?;
    let watch = |bytes| observer.moved(&image, bytes);
    remote.fetch_into(&image, &layout.store, &watch).await?;
    // What is no manifest of an image is refused when it is opened.
    let manifest = serde_json::from_slice::<Manifest>(&fetched.bytes).ok();
    let mut layers = Vec::new();
    if let Some(manifest) = manifest.filter(|_| media_type::is_manifest(&image.media_type)) {
        let watch = |bytes| observer.moved(&manifest.config, bytes);
        remote.fetch_into(&manifest.config, &layout.store, &watch).await?;
        layers = manifest.layers;
    }
    layout.list(image.clone(), Some(&name.clone().with_default_tag().to_string()))?;
    Ok((remote, layers))
}

impl Blobs {
    /// Fetches all layers, as many at once as the client may.
    async fn fetch(self: Arc<Blobs>, remote: Remote, layers: Vec<Descriptor>, observer: Arc<dyn Observer>) {
        let follower = Arc::clone(&self) as Arc<dyn Follower>;
        let store = Followed {
            store: self.store.clone(),
            follower,
        };
        let mut fetches = JoinSet::new();
        for layer in layers {
            let (remote, store, blobs) = (remote.clone(), store.clone(), Arc::clone(&self));
            let observer = Arc::clone(&observer);
            fetches.spawn(async move {
                let watch = |bytes| observer.moved(&layer, bytes);
                let got = remote.fetch_into(&layer, &store, &watch).await?;
                observer.done(&layer, got != Got::Present);
                blobs.change(|known| drop(known.here.replace(layer.digest.clone())));
                Ok::<_, transom_client::Error>(())
            });
        }
        let mut ended = Ok(());
        while let (Some(done), Ok(())) = (fetches.join_next().await, &ended) {
            ended = match done {
                Ok(done) => done.map_err(Failure::from),
                Err(error) => Err(Failure::io("fetching", &io::Error::other(error))),
            };
        }
        fetches.shutdown().await;
        self.change(|known| known.ended = Some(ended));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// A layer's bytes, waited for until there are some.
    fn read(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        let mut known = self.lock();
        loop {
            if known.here.contains(digest) || known.ended.is_some() {
                drop(known);
                let blob = self.store.reader(digest).map_err(io::Error::other)?;
                return Ok(Box::new(blob));
            }
            if let Some(arriving) = known.begun.get(digest).filter(|blob| !blob.is_lost()) {
                let arriving = arriving.clone();
                // Not with the lock: a request to stop that is on its way waits for it.
                drop(known);
                return Ok(Box::new(arriving.reader(&self.cancel)));
            }
            if self.cancel.is_requested() {
                return Err(io::Error::other("interrupted"));
            }
            known = self.changed.wait(known).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Follower for Blobs {
    fn begun(&self, blob: &Descriptor, partial: Partial, written: u64) -> Arc<dyn Follow> {
        let arriving = Arriving::new(partial, written);
        let told = arriving.clone();
        self.change(|known| drop(known.begun.insert(blob.digest.clone(), told)));
        Arc::new(arriving)
    }
}

impl Coming {
    /// The layout with the documents.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until all layers are here, or will not come; the failure then.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        let _hook = self.hook();
        let mut known = self.blobs.lock();
        while known.ended.is_none() {
            if self.blobs.cancel.is_requested() {
                return Err(Failure::interrupted());
            }
            let changed = self.blobs.changed.wait(known);
            known = changed.unwrap_or_else(PoisonError::into_inner);
        }
        known.ended.replace(Ok(())).unwrap_or(Ok(()))
    }

    /// Whoever waits is woken by the request to stop.
    fn hook(&self) -> CancelHook {
        let blobs = Arc::clone(&self.blobs);
        self.blobs.cancel.on_cancel(move || {
            let _known = blobs.lock();
            blobs.changed.notify_all();
        })
    }

    /// Whether bytes of a layer that were read do not count: it was fetched anew.
    pub(crate) fn has_lost(&self) -> bool {
        self.blobs.lock().begun.values().any(Arriving::is_lost)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A fetch may be waiting for a registry, and a write for the disk; the folder goes after them.
            runtime.shutdown_timeout(limits::LAST_WRITES);
        }
    }
}

impl Layers for Coming {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, ImageError> {
        let digest = &layer.descriptor.digest;
        let _hook = self.hook();
        self.blobs.read(digest).map_err(|source| ImageError::Io {
            action: "fetch",
            path: digest.to_string().into(),
            source,
        })
    }
}
