//! From the store to a registry: blobs first, then the documents from the leaves up, the image itself last.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;
use transom_client::{Pushed, Remote, Repository, Upwards};
use transom_image::limits::{DESCRIPTORS_MAX, INDEX_DEPTH_MAX};
use transom_meta::{Caller, Labels, Metadata, leases};
use transom_oci::{Descriptor, media_type};

use crate::children::children;
use crate::error::TransferError;
use crate::image_store::{self, ImageStore};
use crate::lease::Hold;
use crate::progress::{COMPLETE, EXISTS, PUSHED, PUSHING, Progress, ProgressSink, UPLOADING, WAITING, key};
use crate::registry::Registry;
use crate::{document, limits, reference};

/// See [`Transfers::push`](crate::Transfers::push).
pub(crate) async fn push(
    metadata: &Metadata,
    caller: &Caller,
    image: &ImageStore,
    to: &Registry,
    progress: Arc<dyn ProgressSink>,
) -> Result<(), TransferError> {
    let hold = Hold::begin(metadata, caller).await?;
    progress.tell(Progress::of_all(format!("Pushing to {to}")));
    let found = metadata.image(hold.caller(), &image.name).await?;
    let root = image_store::descriptor(&found)?;
    if let Some(lease) = &hold.caller().lease {
        // The image may be deleted meanwhile.
        metadata
            .add_resource(&caller.namespace, lease, leases::CONTENT, root.digest.as_str())
            .await?;
    }
    let target = root.clone();
    let whole = |event: &'static str| Progress {
        name: found.name.clone(),
        descriptor: Some(target.clone()),
        ..Progress::of_all(event)
    };
    progress.tell(whole(PUSHING));
    let root = chosen(metadata, hold.caller(), image, root.clone()).await?;
    let plan = Plan::make(metadata, hold.caller(), image, root.clone(), &found.name).await?;
    let sender = Sender {
        metadata: metadata.clone(),
        caller: hold.caller().clone(),
        remote: to.remote()?,
        progress: Arc::clone(&progress),
    };
    sender.send(plan, &root, &to.reference().target()).await?;
    progress.tell(Progress {
        descriptor: Some(root.clone()),
        ..whole(PUSHED)
    });
    progress.tell(Progress {
        descriptor: Some(root.clone()),
        ..Progress::of_all(format!("Completed push to {to}"))
    });
    hold.end().await
}

/// What gets the name: the image, or of an index the manifest for the one platform that is wanted. An index with parts left out
/// would be another one.
async fn chosen(
    metadata: &Metadata,
    caller: &Caller,
    store: &ImageStore,
    mut root: Descriptor,
) -> Result<Descriptor, TransferError> {
    if store.platforms.0.len() != 1 {
        return Ok(root);
    }
    for _ in 0..=INDEX_DEPTH_MAX {
        if !media_type::is_index(&root.media_type) {
            return Ok(root);
        }
        let rank = |child: &Descriptor| match &child.platform {
            Some(platform) => store.platforms.rank(platform),
            // An index in it may have one that suits.
            None => media_type::is_index(&child.media_type).then_some(usize::MAX),
        };
        let listed = children(metadata, caller, &root).await?.into_iter();
        let best = listed
            .filter_map(|child| Some((rank(&child)?, child)))
            .min_by_key(|(rank, _)| *rank);
        let Some((_, best)) = best else {
            return Err(TransferError::NotFound {
                object: format!("no match for platform in manifest {}", root.digest),
            });
        };
        root = best;
    }
    Err(too_deep())
}

fn too_deep() -> TransferError {
    TransferError::Limit {
        what: "the indexes in indexes of the image".to_owned(),
        limit: INDEX_DEPTH_MAX as u64,
    }
}

/// What is pushed.
struct Plan {
    /// Manifests and indexes from the root down.
    documents: Vec<Listed>,
    /// Configurations and layers, each once.
    blobs: Vec<Listed>,
}

/// A blob and where it is listed, for events.
#[derive(Clone, Debug)]
struct Listed {
    descriptor: Descriptor,
    parent: String,
}

impl Listed {
    fn event(&self, event: &'static str, done: u64) -> Progress {
        let parents = std::slice::from_ref(&self.parent);
        Progress::of_blob(event, &self.descriptor, parents, done)
    }
}

impl Plan {
    async fn make(
        metadata: &Metadata,
        caller: &Caller,
        store: &ImageStore,
        root: Descriptor,
        name: &str,
    ) -> Result<Plan, TransferError> {
        let (mut documents, mut blobs, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let mut level = vec![Listed {
            descriptor: root,
            parent: name.to_owned(),
        }];
        for _ in 0..=INDEX_DEPTH_MAX + 2 {
            let mut below = Vec::new();
            for listed in std::mem::take(&mut level) {
                let of = &listed.descriptor;
                if !seen.insert(of.digest.clone()) || media_type::is_nondistributable(&of.media_type) {
                    continue;
                }
                if !media_type::is_manifest(&of.media_type) && !media_type::is_index(&of.media_type) {
                    blobs.push(listed);
                    continue;
                }
                // What is filtered out must be in the registry already.
                let wanted = children(metadata, caller, of).await?.into_iter();
                let wanted = wanted.filter(|child| store.platforms.take(child));
                below.extend(wanted.map(|descriptor| Listed {
                    descriptor,
                    parent: key(of),
                }));
                documents.push(listed);
            }
            if seen.len() + below.len() > DESCRIPTORS_MAX {
                return Err(TransferError::Limit {
                    what: "the descriptors of the image".to_owned(),
                    limit: DESCRIPTORS_MAX as u64,
                });
            }
            if below.is_empty() {
                return Ok(Plan { documents, blobs });
            }
            level = below;
        }
        Err(too_deep())
    }
}

/// Sends blobs and documents.
#[derive(Clone)]
struct Sender {
    metadata: Metadata,
    caller: Caller,
    remote: Remote,
    progress: Arc<dyn ProgressSink>,
}

impl Sender {
    async fn send(&self, plan: Plan, root: &Descriptor, target: &str) -> Result<(), TransferError> {
        for listed in plan.documents.iter().chain(&plan.blobs) {
            self.progress.tell(listed.event(WAITING, 0));
        }
        let mut uploads = JoinSet::new();
        for blob in plan.blobs {
            let sender = self.clone();
            uploads.spawn(async move { sender.blob(&blob).await });
        }
        while let Some(done) = uploads.join_next().await {
            done.map_err(|_| TransferError::Panicked { what: "an upload" })??;
        }
        // An index in one that was found first may come later in the list than what lists it, but never before.
        for document in plan.documents.iter().rev() {
            let of = &document.descriptor;
            let bytes: Bytes = document::load(&self.metadata, &self.caller, of).await?.into();
            let name = if of.digest == root.digest {
                target
            } else {
                of.digest.as_str()
            };
            let put = self.remote.put_manifest(name, &of.media_type, bytes).await;
            put.map_err(Box::new)?;
            self.progress.tell(document.event(COMPLETE, of.size));
        }
        Ok(())
    }

    async fn blob(&self, blob: &Listed) -> Result<(), TransferError> {
        let of = &blob.descriptor;
        let labels = self.metadata.content_info(&self.caller, &of.digest).await?.labels;
        let source = self.metadata.content_reader(&self.caller, &of.digest).await?;
        let told = AtomicU64::new(0);
        let watch = |bytes: u64| {
            let before = told.load(Ordering::Relaxed);
            if bytes < before || bytes - before >= limits::PROGRESS_BYTES {
                told.store(bytes, Ordering::Relaxed);
                self.progress.tell(blob.event(UPLOADING, bytes));
            }
        };
        let from = sources(&labels, self.remote.repository().registry());
        let source = Arc::new(Arc::new(source));
        let pushed = self
            .remote
            .push_blob(of, source, &from, Upwards::Auto, &watch)
            .await
            .map_err(Box::new)?;
        let event = match pushed {
            Pushed::Present => EXISTS,
            Pushed::Mounted | Pushed::Uploaded => COMPLETE,
        };
        self.progress.tell(blob.event(event, of.size));
        Ok(())
    }
}

/// The repositories of a registry that a blob came from: the registry may take it from there.
fn sources(labels: &Labels, registry: &str) -> Vec<Repository> {
    let label = labels.get(&format!("{}{registry}", reference::SOURCE));
    let names = label.map_or("", String::as_str).split(',');
    names
        .filter_map(|name| Repository::new(registry, name).ok())
        .take(limits::MOUNTS)
        .collect()
}
