//! Archives of `docker save`: they list names of files, and an index and manifests are made of that, the same bytes that
//! containerd makes.

use std::collections::BTreeMap;

use transom_meta::{Caller, Labels, Metadata};
use transom_oci::limits::LAYERS_MAX;
use transom_oci::{Algorithm, Descriptor, Digest, Index, Manifest, Platform, media_type};

use transom_image::source::docker::DockerEntry;

use super::layers;
use super::receive::{File, Received, Stored, store};
use crate::document::{self, Config};
use crate::error::TransferError;
use crate::limits;
use crate::reference::{self, IMAGE_NAME, REF_NAME};

/// Makes the index of all images of the archive.
pub(super) async fn index(
    metadata: &Metadata,
    caller: &Caller,
    received: &Received,
    compress: bool,
) -> Result<Descriptor, TransferError> {
    let names: usize = received
        .docker
        .iter()
        .map(|entry| entry.repo_tags.len().max(1))
        .sum();
    if names > limits::CHILDREN {
        return Err(TransferError::Limit {
            what: format!("the {names} images and names in \"manifest.json\""),
            limit: limits::CHILDREN as u64,
        });
    }
    let mut manifests = Vec::new();
    for entry in &received.docker {
        let image = manifest(metadata, caller, received, entry, compress).await?;
        if entry.repo_tags.is_empty() {
            manifests.push(image);
            continue;
        }
        for tag in &entry.repo_tags {
            let name = reference::normalize(tag)
                .ok_or_else(|| document::refused("manifest.json", &format!("{tag:?} is no reference")))?;
            let mut named = image.clone();
            named.annotations = Labels::from([
                (REF_NAME.to_owned(), reference::tag_of(&name).to_owned()),
                (IMAGE_NAME.to_owned(), name),
            ]);
            manifests.push(named);
        }
    }
    let index = Index {
        schema_version: 2,
        media_type: None,
        manifests,
        annotations: BTreeMap::new(),
    };
    write(metadata, caller, &index, media_type::INDEX).await
}

async fn manifest(
    metadata: &Metadata,
    caller: &Caller,
    received: &Received,
    entry: &DockerEntry,
    compress: bool,
) -> Result<Descriptor, TransferError> {
    let (config, facts) = config(metadata, caller, received, entry).await?;
    let diff_ids = facts.diff_ids().unwrap_or_default();
    if entry.layers.len() > LAYERS_MAX {
        return Err(TransferError::Limit {
            what: format!("the {} layers of {:?}", entry.layers.len(), entry.config),
            limit: LAYERS_MAX as u64,
        });
    }
    let mut files = Vec::new();
    for name in &entry.layers {
        let file = received
            .files
            .find(name)
            .ok_or_else(|| not_found("layer", name))?;
        files.push(stored(metadata, caller, file).await?);
    }
    let layers = layers::describe(metadata, caller, &files, diff_ids, compress).await?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::DOCKER_MANIFEST.to_owned()),
        artifact_type: None,
        config,
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    };
    let mut made = write(metadata, caller, &manifest, media_type::DOCKER_MANIFEST).await?;
    made.platform = facts.platform().map(Platform::normalised);
    Ok(made)
}

/// The configuration as content, and what it says.
async fn config(
    metadata: &Metadata,
    caller: &Caller,
    received: &Received,
    entry: &DockerEntry,
) -> Result<(Descriptor, Config), TransferError> {
    let file = received
        .files
        .find(&entry.config)
        .ok_or_else(|| not_found("image config", &entry.config))?;
    let stored = stored(metadata, caller, file).await?;
    if let Some(promised) = entry.promised_config_digest()
        && promised.algorithm() == stored.digest.algorithm()
        && promised != stored.digest
    {
        return Err(TransferError::WrongDigest {
            name: entry.config.clone(),
            actual: stored.digest,
        });
    }
    let descriptor = Descriptor::new(media_type::DOCKER_IMAGE_CONFIG, stored.digest, stored.size);
    let bytes = document::load(metadata, caller, &descriptor).await?;
    let facts = document::json(&bytes, &entry.config)?;
    Ok((descriptor, facts))
}

async fn stored(metadata: &Metadata, caller: &Caller, file: File) -> Result<Stored, TransferError> {
    match file {
        File::Stored(stored) => Ok(stored),
        File::Small(bytes) => store(metadata, caller, bytes, Labels::new()).await,
    }
}

fn not_found(kind: &str, name: &str) -> TransferError {
    document::refused(
        "manifest.json",
        &format!("{kind} {name:?} not found in the archive"),
    )
}

async fn write<T: serde::Serialize>(
    metadata: &Metadata,
    caller: &Caller,
    document: &T,
    kind: &str,
) -> Result<Descriptor, TransferError> {
    let bytes = serde_json::to_vec(document).map_err(|error| document::refused(kind, &error.to_string()))?;
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let size = bytes.len() as u64;
    store(metadata, caller, bytes.into(), Labels::new()).await?;
    Ok(Descriptor::new(kind, digest, size))
}
