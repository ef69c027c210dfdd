//! What processors wrote about layers, kept as artifacts that refer to the image's manifest.
//!
//! ```text
//! layer applied ─▶ documents, and a list of them that the layer's blob keeps   (keep)
//! image unpacked ─▶ one artifact for each kind, of all layers, that the manifest keeps   (attach)
//! ```
//!
//! A layer that several images have is applied once, so that its documents must be found by the layer and not by the image. All
//! of it goes when the layers and the manifest go: the collector follows the labels.

use std::collections::BTreeMap;

use bytes::Bytes;
use transom_layer::pump::StageReport;
use transom_layer::stage::Document;
use transom_meta::{Caller, Error, Labels, Metadata};
use transom_oci::limits::MANIFEST_BYTES_MAX;
use transom_oci::{Descriptor, Digest, Manifest, media_type};

use crate::children;
use crate::document;
use crate::error::TransferError;
use crate::import::store;

/// Where a document names the layer that it is about, and the plugin that wrote it; as `transom unpack --artifacts` does.
pub const LAYER: &str = "dev.transom.layer";
/// See [`LAYER`].
pub const PLUGIN: &str = "dev.transom.plugin";

/// The type of the list of a layer's documents.
const LIST: &str = "application/vnd.transom.layer.documents.v1";
/// The label by which a layer keeps that list.
const LIST_LABEL: &str = "containerd.io/gc.ref.content.transom.documents";
/// The labels by which a manifest keeps what refers to it, up to a part of the digest; containerd's.
const REFERRER_LABEL: &str = "containerd.io/gc.ref.content.referrer.";

/// A document about a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The processor that wrote it.
    pub processor: String,
    /// The document.
    pub document: Document,
}

impl Made {
    /// All documents of the stages of a layer.
    #[must_use]
    pub fn of(stages: &[StageReport]) -> Vec<Made> {
        let made = |stage: &StageReport| {
            let processor = stage.name.clone();
            let documents = stage.outcome.documents.clone().into_iter();
            documents.map(move |document| Made {
                processor: processor.clone(),
                document,
            })
        };
        stages.iter().flat_map(made).collect()
    }
}

/// Keeps what was written about a layer, whose blob is there, for as long as that is.
///
/// # Errors
/// [`TransferError::Meta`].
pub async fn keep(
    metadata: &Metadata,
    caller: &Caller,
    layer: &Digest,
    made: &[Made],
) -> Result<(), TransferError> {
    if made.is_empty() {
        return Ok(());
    }
    let mut documents = Vec::new();
    for made in made {
        let bytes = made.document.bytes.clone();
        let mut descriptor = put(metadata, caller, &made.document.media_type, bytes, Labels::new()).await?;
        descriptor.annotations = made.document.annotations.clone();
        descriptor.annotations.insert(LAYER.to_owned(), layer.to_string());
        descriptor
            .annotations
            .insert(PLUGIN.to_owned(), made.processor.clone());
        documents.push(descriptor);
    }
    let list = artifact(metadata, caller, LIST, documents, None).await?;
    if let Some(list) = list {
        label(metadata, caller, layer, LIST_LABEL, &list.digest).await?;
    }
    Ok(())
}

/// Makes artifacts of what was written about the layers of an image, lowest first, and lets its manifest keep them. The same
/// documents make the same artifact.
///
/// # Errors
/// [`TransferError`].
pub async fn attach(
    metadata: &Metadata,
    caller: &Caller,
    manifest: &Descriptor,
    layers: &[Descriptor],
) -> Result<(), TransferError> {
    let mut kinds: BTreeMap<String, Vec<Descriptor>> = BTreeMap::new();
    for layer in layers {
        for document in of_layer(metadata, caller, &layer.digest).await? {
            kinds
                .entry(document.media_type.clone())
                .or_default()
                .push(document);
        }
    }
    for (kind, documents) in kinds {
        let subject = Descriptor::new(
            manifest.media_type.clone(),
            manifest.digest.clone(),
            manifest.size,
        );
        let made = artifact(metadata, caller, &kind, documents, Some(subject)).await?;
        if let Some(made) = made {
            let key = format!("{REFERRER_LABEL}sha256.{}", &made.digest.hex()[..12]);
            label(metadata, caller, &manifest.digest, &key, &made.digest).await?;
            tracing::info!(image = %manifest.digest, artifact = %made.digest, kind, "documents about the image are kept");
        }
    }
    Ok(())
}

/// What refers to a manifest, as far as its blob keeps it. Nothing of one that is not there.
///
/// # Errors
/// [`Error::Kv`], [`Error::Record`].
pub async fn referrers(metadata: &Metadata, caller: &Caller, subject: &Digest) -> Result<Vec<Digest>, Error> {
    let labels = match metadata.content_info(caller, subject).await {
        Ok(record) => record.labels,
        Err(Error::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let kept = labels.iter().filter(|(key, _)| key.starts_with(REFERRER_LABEL));
    let mut digests: Vec<Digest> = kept.filter_map(|(_, digest)| digest.parse().ok()).collect();
    digests.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    digests.dedup();
    Ok(digests)
}

/// What was written about a layer; nothing if that is not there any more.
async fn of_layer(
    metadata: &Metadata,
    caller: &Caller,
    layer: &Digest,
) -> Result<Vec<Descriptor>, TransferError> {
    let found = async {
        let labels = metadata.content_info(caller, layer).await?.labels;
        let Some(list) = labels
            .get(LIST_LABEL)
            .and_then(|list| list.parse::<Digest>().ok())
        else {
            return Ok(Vec::new());
        };
        let size = metadata.content_info(caller, &list).await?.size;
        let of = Descriptor::new(media_type::MANIFEST, list, size);
        let bytes = document::load(metadata, caller, &of).await?;
        Ok(document::manifest(&bytes, of.digest.as_str())?.layers)
    };
    match found.await {
        Err(TransferError::Meta(Error::NotFound { .. })) => Ok(Vec::new()),
        done => done,
    }
}

/// An artifact of documents that are there; none if a manifest cannot list so many.
async fn artifact(
    metadata: &Metadata,
    caller: &Caller,
    kind: &str,
    documents: Vec<Descriptor>,
    subject: Option<Descriptor>,
) -> Result<Option<Descriptor>, TransferError> {
    let empty = Bytes::from_static(b"{}");
    let config = put(metadata, caller, media_type::EMPTY_CONFIG, empty, Labels::new()).await?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::MANIFEST.to_owned()),
        artifact_type: Some(kind.to_owned()),
        config,
        layers: documents,
        subject,
        annotations: BTreeMap::new(),
    };
    let text = serde_json::to_vec(&manifest).map_err(|error| document::refused(kind, &error.to_string()))?;
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        tracing::warn!(
            kind,
            count = manifest.layers.len(),
            "too many documents for one artifact are not kept"
        );
        return Ok(None);
    }
    let parts = [vec![manifest.config], manifest.layers].concat();
    let labels = children::labels(&parts);
    let made = put(metadata, caller, media_type::MANIFEST, text.into(), labels).await?;
    // One that was there may have been pulled, and then keeps less.
    children::keep(metadata, caller, &made, &parts).await?;
    Ok(Some(made))
}

async fn put(
    metadata: &Metadata,
    caller: &Caller,
    media_type: &str,
    bytes: Bytes,
    labels: Labels,
) -> Result<Descriptor, TransferError> {
    let stored = store(metadata, caller, bytes, labels).await?;
    Ok(Descriptor::new(media_type, stored.digest, stored.size))
}

async fn label(
    metadata: &Metadata,
    caller: &Caller,
    blob: &Digest,
    key: &str,
    value: &Digest,
) -> Result<(), TransferError> {
    let labels = Labels::from([(key.to_owned(), value.to_string())]);
    let path = [format!("labels.{key}")];
    metadata.content_update(caller, blob, labels, &path).await?;
    Ok(())
}
