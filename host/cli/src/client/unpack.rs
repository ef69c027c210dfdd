//! An image of a daemon into its snapshots, layer by layer, as containerd's clients do it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tonic::Code;
use transom_api::diff::ApplyRequest;
use transom_api::snapshots::CommitSnapshotRequest;
use transom_api::types;
use transom_oci::{Descriptor, Digest, Platform, chain_ids};

use super::image::{Node, State};
use super::snapshot::Snapshots;
use super::{Labels, stream};
use crate::failure::{Failure, Kind};

/// The label of a layer's blob that names its diffID.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// The label of a snapshot that names what it will be.
const SNAPSHOT_REF: &str = "containerd.io/snapshot.ref";
/// The label of a blob that keeps a snapshot, but for the snapshotter's name.
const KEEPS_SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.";

/// The label by which a daemon knows for which image a snapshot is: before it hands out one of an encrypted image, it asks for
/// the key.
const IMAGE: &str = "transom.io/image";

/// The labels of a snapshot that is made for an image.
pub(crate) fn of_image(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(IMAGE.to_owned(), name.to_owned())])
}

/// What an image is unpacked from: one manifest.
#[derive(Debug)]
pub(crate) struct Unpack<'n> {
    image: &'n str,
    config: &'n Digest,
    layers: Vec<(&'n Descriptor, &'n Digest)>,
    chain: Vec<Digest>,
}

impl<'n> Unpack<'n> {
    /// The manifest of the image of this name for a platform, if everything that it needs is there.
    pub(crate) fn new(image: &'n str, tree: &'n Node, platform: &Platform) -> Result<Unpack<'n>, Failure> {
        let manifest = tree.best(platform).ok_or_else(|| {
            let text = format!("the image has nothing for the platform {platform}");
            Failure::new(Kind::NotFound, text)
        })?;
        let missing = manifest
            .blobs()
            .into_values()
            .find(|node| node.state != State::Present);
        if let Some(node) = missing {
            let text = match &node.state {
                State::Unreadable(problem) => format!("{}: {problem}", node.descriptor.digest),
                _ => format!("the blob {} is not there", node.descriptor.digest),
            };
            return Err(Failure::new(Kind::NotFound, text).advise("fetch or import the image again"));
        }
        let [config, layers @ ..] = manifest.children.as_slice() else {
            return Err(no_image(manifest));
        };
        let parsed = manifest.config.as_ref().ok_or_else(|| no_image(manifest))?;
        let diff_ids = &parsed.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            let text = format!(
                "the configuration names {} layers, the manifest {}",
                diff_ids.len(),
                layers.len()
            );
            return Err(Failure::new(Kind::Damaged, text));
        }
        Ok(Unpack {
            image,
            config: &config.descriptor.digest,
            layers: layers.iter().map(|node| &node.descriptor).zip(diff_ids).collect(),
            chain: chain_ids(diff_ids),
        })
    }

    /// The snapshot that has all layers; none for an image without layers.
    pub(crate) fn top(&self) -> Option<&Digest> {
        self.chain.last()
    }

    /// All snapshots, the lowest first.
    pub(crate) fn chain(&self) -> &[Digest] {
        &self.chain
    }

    /// Bytes of all layers' blobs.
    pub(crate) fn bytes(&self) -> u64 {
        self.layers.iter().map(|(layer, _)| layer.size).sum()
    }

    /// Makes the snapshots that are not there. `counter` goes up by the bytes of each layer's blob that is done.
    pub(crate) async fn run(&self, snapshots: &Snapshots, counter: &Arc<AtomicU64>) -> Result<(), Failure> {
        let mut parent = String::new();
        for ((layer, diff_id), name) in self.layers.iter().zip(&self.chain) {
            let name = name.to_string();
            if snapshots.find(&name).await?.is_none() {
                self.layer(snapshots, layer, diff_id, &parent, &name)
                    .await
                    .map_err(|failure| failure.about(format!("layer {}", layer.digest)))?;
            }
            label(snapshots, &layer.digest, UNCOMPRESSED, &diff_id.to_string()).await?;
            counter.fetch_add(layer.size, Ordering::Relaxed);
            parent = name;
        }
        let key = format!("{KEEPS_SNAPSHOT}{}", snapshots.snapshotter);
        match self.top() {
            Some(top) => label(snapshots, self.config, &key, &top.to_string()).await,
            None => Ok(()),
        }
    }

    async fn layer(
        &self,
        snapshots: &Snapshots,
        layer: &Descriptor,
        diff_id: &Digest,
        parent: &str,
        name: &str,
    ) -> Result<(), Failure> {
        let key = format!("extract-{} {name}", unique_number());
        let mut labels = of_image(self.image);
        labels.insert(SNAPSHOT_REF.to_owned(), name.to_owned());
        let mounts = match snapshots.prepare(&key, parent, labels).await {
            Ok(mounts) => mounts,
            // Another has unpacked it meanwhile, or the snapshotter has it by itself.
            Err(status) if status.code() == Code::AlreadyExists => {
                return match snapshots.find(name).await? {
                    Some(_) => Ok(()),
                    None => Err(status.into()),
                };
            }
            Err(status) => return Err(status.into()),
        };
        let filled = fill(snapshots, layer, diff_id, mounts).await;
        let committed = match filled {
            Ok(()) => commit(snapshots, name, &key).await,
            failed => failed,
        };
        if committed.is_err() || snapshots.find(&key).await?.is_some() {
            // What failed is what is to be said; the lease's end removes the snapshot too.
            drop(snapshots.remove(&key).await);
        }
        committed
    }
}

fn no_image(manifest: &Node) -> Failure {
    let text = format!(
        "{} ({}) is no image that can be unpacked",
        manifest.descriptor.digest, manifest.descriptor.media_type
    );
    Failure::new(Kind::Other, text)
}

/// Applies a layer to the mounts of a snapshot.
async fn fill(
    snapshots: &Snapshots,
    layer: &Descriptor,
    diff_id: &Digest,
    mounts: Vec<types::Mount>,
) -> Result<(), Failure> {
    let request = ApplyRequest {
        diff: Some(types::Descriptor {
            media_type: layer.media_type.clone(),
            digest: layer.digest.to_string(),
            size: i64::try_from(layer.size).unwrap_or(i64::MAX),
            annotations: layer.annotations.clone(),
        }),
        mounts,
        ..ApplyRequest::default()
    };
    let applied = snapshots.client.diff().apply(request).await?.into_inner().applied;
    let applied = applied.ok_or_else(|| Failure::silent("the layer that was applied"))?;
    if applied.digest == diff_id.to_string() {
        return Ok(());
    }
    let text = format!(
        "it unpacks to {}, the configuration says {diff_id}",
        applied.digest
    );
    Err(Failure::new(Kind::Damaged, text))
}

/// Commits a snapshot; that another was faster is as good.
async fn commit(snapshots: &Snapshots, name: &str, key: &str) -> Result<(), Failure> {
    let request = CommitSnapshotRequest {
        snapshotter: snapshots.snapshotter.clone(),
        name: name.to_owned(),
        key: key.to_owned(),
        labels: BTreeMap::from([(SNAPSHOT_REF.to_owned(), name.to_owned())]),
        ..CommitSnapshotRequest::default()
    };
    match snapshots.client.snapshots().commit(request).await {
        Err(status) if status.code() != Code::AlreadyExists => Err(status.into()),
        _ => Ok(()),
    }
}

async fn label(snapshots: &Snapshots, digest: &Digest, key: &str, value: &str) -> Result<(), Failure> {
    let labels = Labels::set(BTreeMap::from([(key.to_owned(), value.to_owned())]));
    snapshots.client.label(digest, labels).await.map(drop)
}

/// As containerd's clients begin the keys of what they unpack: nanoseconds and something random.
fn unique_number() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", since.subsec_nanos(), stream::unique("unpack"))
}
