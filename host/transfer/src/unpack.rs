//! From an image's layers to snapshots.
//!
//! Read in this order: [`parts`] (who keeps snapshots, who applies layers), [`differs`] (differs as the latter), [`job`] (the images of one transfer), `image`
//! (the layers of one image, one after the other or at the same time), `layer` (one layer), `sealed` (encrypted layers that others
//! have unpacked), `leading` (which snapshots an image leads to), `twins` (what is known of all images), `arrivals` (blobs that are still on their way), `locks` (one layer is unpacked once, however many ask for it), [`error`].

pub(crate) mod arrivals;
pub mod differs;
pub mod error;
mod image;
pub mod job;
mod layer;
mod leading;
mod locks;
pub mod parts;
mod sealed;
mod twins;

use std::sync::Arc;

use tokio::sync::Semaphore;
use transom_meta::{Caller, Metadata};
use transom_oci::{Descriptor, media_type};

use crate::image_store::UnpackTo;
use crate::lease::Hold;
use crate::limits;
use crate::progress::{Progress, ProgressSink};

pub use differs::DifferApplier;
pub use error::UnpackError;
pub use job::Unpacking;
pub use parts::{Applied, Applier, ApplyError, Authorizer, Layer, Sealed, Snapshots};

use locks::Locks;
use twins::Twins;

/// The snapshotter where neither a request nor its namespace names one; containerd's.
const DEFAULT: &str = "overlayfs";

/// The label of a namespace that names its snapshotter.
const DEFAULT_LABEL: &str = "containerd.io/defaults/snapshotter";

/// An image by what unpacking needs of its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpackable {
    /// The manifest.
    pub manifest: Descriptor,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

impl Unpackable {
    /// What a manifest with these children is, if it is an image with layers.
    #[must_use]
    pub fn of(manifest: &Descriptor, children: &[Descriptor]) -> Option<Unpackable> {
        let config = children
            .iter()
            .find(|child| media_type::is_image_config(&child.media_type))?;
        let layers = children
            .iter()
            .filter(|child| media_type::is_layer(&child.media_type));
        let layers: Vec<Descriptor> = layers.cloned().collect();
        (!layers.is_empty()).then(|| Unpackable {
            manifest: manifest.clone(),
            config: config.clone(),
            layers,
        })
    }
}

/// Unpacks images. Clones share what limits them, and unpack a layer that several ask for once.
#[derive(Clone, Debug)]
pub struct Unpacker {
    snapshots: Arc<dyn Snapshots>,
    applier: Arc<dyn Applier>,
    authorizer: Arc<dyn Authorizer>,
    locks: Locks,
    twins: Twins,
    permits: Arc<Semaphore>,
    /// For layers that are applied while they arrive.
    along: Arc<Semaphore>,
}

impl Unpacker {
    /// An unpacker that applies at most `at_once` layers at the same time.
    #[must_use]
    pub fn new(
        snapshots: Arc<dyn Snapshots>,
        applier: Arc<dyn Applier>,
        authorizer: Arc<dyn Authorizer>,
        at_once: usize,
    ) -> Unpacker {
        Unpacker {
            snapshots,
            applier,
            authorizer,
            locks: Locks::default(),
            twins: Twins::default(),
            permits: Arc::new(Semaphore::new(at_once.max(1))),
            along: Arc::new(Semaphore::new(limits::UNPACKS_ALONG)),
        }
    }

    /// As many layers at once as the machine has processors, up to a limit.
    #[must_use]
    pub fn at_once() -> usize {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        processors.min(limits::UNPACKS)
    }

    /// Begins to unpack the images of one transfer, whose lease keeps what is made.
    ///
    /// # Errors
    /// [`UnpackError::NotLoaded`], [`UnpackError::Meta`].
    pub async fn begin(
        &self,
        metadata: &Metadata,
        hold: Hold,
        targets: &[UnpackTo],
        progress: Arc<dyn ProgressSink>,
    ) -> Result<Unpacking, UnpackError> {
        let mut resolved = Vec::new();
        for target in targets {
            let snapshotter = match target.snapshotter.as_str() {
                "" => default_snapshotter(metadata, hold.caller()).await?,
                name => name.to_owned(),
            };
            let Some(capabilities) = self.snapshots.capabilities(&snapshotter) else {
                return Err(UnpackError::NotLoaded { snapshotter });
            };
            resolved.push(job::Target {
                platform: target.platform.clone(),
                rebase: capabilities.iter().any(|capability| capability == "rebase"),
                snapshotter,
            });
        }
        Ok(Unpacking::new(
            self.clone(),
            metadata.clone(),
            hold,
            resolved,
            progress,
        ))
    }
}

async fn default_snapshotter(metadata: &Metadata, caller: &Caller) -> Result<String, UnpackError> {
    let labels = metadata.namespace_labels(&caller.namespace).await;
    let labels = labels.map_err(Box::new)?;
    let named = labels.get(DEFAULT_LABEL).filter(|name| !name.is_empty());
    Ok(named.map_or(DEFAULT, String::as_str).to_owned())
}

/// Tells of a layer.
fn tell(progress: &dyn ProgressSink, event: &'static str, of: &layer::Work, done: u64) {
    progress.tell(Progress::of_blob(event, &of.descriptor, &of.parents, done));
}
