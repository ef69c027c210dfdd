//! The images of one transfer on their way into snapshots.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use transom_layer::cancel::Cancel;
use transom_meta::{Caller, Metadata};
use transom_oci::{Digest, Platform};

use super::arrivals::Arrivals;
use super::{UnpackError, Unpackable, Unpacker, image};
use crate::artifacts;
use crate::lease::Hold;
use crate::progress::ProgressSink;

/// Where to unpack what.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) platform: Platform,
    pub(super) snapshotter: String,
    /// Whether it takes the parent of a snapshot at its commit.
    pub(super) rebase: bool,
}

/// Images that are being unpacked. When this is dropped, that is stopped, and what was prepared is removed by tasks that go on
/// until then.
#[derive(Debug)]
pub struct Unpacking {
    shared: Arc<Shared>,
    begun: HashMap<String, Unpackable>,
    tasks: Vec<JoinHandle<Result<(), UnpackError>>>,
}

/// What the tasks of a transfer share.
pub(super) struct Shared {
    pub(super) unpacker: Unpacker,
    pub(super) metadata: Metadata,
    /// The lease is there until the last task has ended.
    pub(super) hold: Hold,
    pub(super) targets: Vec<Target>,
    pub(super) progress: Arc<dyn ProgressSink>,
    pub(super) arrivals: Arrivals,
    pub(super) cancel: Cancel,
    stopped: watch::Sender<bool>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("unpacker", &self.unpacker)
            .field("targets", &self.targets)
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Stops everything.
    pub(super) fn stop(&self) {
        self.cancel.cancel();
        self.stopped.send_replace(true);
    }

    /// Does something that may wait, unless all is stopped before it is done.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, UnpackError> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            // The sender lives as long as `self`.
            _ = stopped.wait_for(|stopped| *stopped) => Err(UnpackError::Stopped),
            done = work => Ok(done),
        }
    }
}

impl Unpacking {
    pub(super) fn new(
        unpacker: Unpacker,
        metadata: Metadata,
        hold: Hold,
        targets: Vec<Target>,
        progress: Arc<dyn ProgressSink>,
    ) -> Unpacking {
        let shared = Shared {
            unpacker,
            metadata,
            hold,
            targets,
            progress,
            arrivals: Arrivals::default(),
            cancel: Cancel::new(),
            stopped: watch::Sender::new(false),
        };
        Unpacking {
            shared: Arc::new(shared),
            begun: HashMap::new(),
            tasks: Vec::new(),
        }
    }

    /// On whose behalf.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        self.shared.hold.caller()
    }

    /// A blob is there: its layer can be unpacked.
    pub fn arrived(&self, digest: &Digest) {
        self.shared.arrivals.arrived(digest);
    }

    /// Where it is told which blobs are there, and which can be read along.
    pub(crate) fn arrivals(&self) -> Arrivals {
        self.shared.arrivals.clone()
    }

    /// Waits until something has failed; [`finish`](Unpacking::finish) says what.
    pub(crate) fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.shared.stopped.subscribe();
        async move {
            if stopped.wait_for(|stopped| *stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops everything, and waits until what was prepared is removed.
    pub async fn abandon(self) {
        self.shared.stop();
        // It was stopped: that is its error.
        drop(self.finish().await);
    }

    /// No more blobs will come.
    pub fn all_arrived(&self) {
        self.shared.arrivals.all();
    }

    /// Begins to unpack an image whose configuration is there, unless that has begun already. If its platform is not wanted,
    /// nothing happens.
    pub fn image(&mut self, image: &Unpackable) {
        let id = format!("{} {}", image.manifest.digest, image.config.digest);
        if let Entry::Vacant(new) = self.begun.entry(id) {
            new.insert(image.clone());
            let (shared, image) = (Arc::clone(&self.shared), image.clone());
            self.tasks.push(tokio::spawn(async move {
                let done = image::unpack(&shared, &image).await;
                if done.is_err() {
                    shared.stop();
                }
                done
            }));
        }
    }

    /// Waits until all images are unpacked.
    ///
    /// # Errors
    /// The first [`UnpackError`]; everything else has been stopped, and what was prepared is removed.
    pub async fn finish(mut self) -> Result<(), UnpackError> {
        self.all_arrived();
        let mut result = Ok(());
        for task in std::mem::take(&mut self.tasks) {
            let done = task.await.unwrap_or(Err(UnpackError::Panicked));
            // That the others were stopped says nothing.
            if result.is_ok() || matches!(result, Err(UnpackError::Stopped)) && done.is_err() {
                result = done;
            }
        }
        result?;
        // Now the manifests are there, too.
        for image in self.begun.values() {
            let (metadata, caller) = (&self.shared.metadata, self.shared.hold.caller());
            let attached = artifacts::attach(metadata, caller, &image.manifest, &image.layers).await;
            attached.map_err(Box::new)?;
        }
        Ok(())
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
