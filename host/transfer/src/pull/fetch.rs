//! One blob of a pull: fetched, or found, and told of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use transom_client::{Got, Remote};
use transom_oci::Descriptor;

use super::content::Content;
use crate::error::TransferError;
use crate::limits;
use crate::progress::{COMPLETE, DOWNLOADING, EXISTS, Progress, ProgressSink, WAITING};

/// A blob and where it is listed.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) descriptor: Descriptor,
    /// For events.
    pub(super) parent: String,
    /// Documents above it.
    pub(super) depth: usize,
}

/// Fetches blobs.
pub(super) struct Fetcher {
    pub(super) remote: Remote,
    pub(super) content: Content,
    pub(super) progress: Arc<dyn ProgressSink>,
}

impl Blob {
    pub(super) fn waits(&self, progress: &dyn ProgressSink) {
        progress.tell(self.event(WAITING, 0));
    }

    fn event(&self, event: &'static str, done: u64) -> Progress {
        let parents = std::slice::from_ref(&self.parent);
        Progress::of_blob(event, &self.descriptor, parents, done)
    }
}

impl Fetcher {
    /// Has a blob as content, and gives it back.
    pub(super) async fn fetch(&self, blob: Blob) -> Result<Blob, TransferError> {
        let descriptor = &blob.descriptor;
        let told = AtomicU64::new(0);
        let watch = |bytes: u64| {
            let before = told.load(Ordering::Relaxed);
            // Also backwards: then it is fetched anew.
            if bytes < before || bytes - before >= limits::PROGRESS_BYTES {
                told.store(bytes, Ordering::Relaxed);
                self.progress.tell(blob.event(DOWNLOADING, bytes));
            }
        };
        let got = self.remote.fetch_into(descriptor, &self.content, &watch).await;
        match got.map_err(Box::new)? {
            Got::Present => {
                self.content.add_source(descriptor).await?;
                self.progress.tell(blob.event(EXISTS, descriptor.size));
            }
            Got::Fetched { .. } => self.progress.tell(blob.event(COMPLETE, descriptor.size)),
        }
        self.content.arrivals.arrived(&descriptor.digest);
        Ok(blob)
    }
}
