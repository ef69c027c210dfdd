//! The documents of an archive: which images it has, for readers of OCI layouts and for docker.

use std::collections::BTreeMap;

use serde::Serialize;
use transom_oci::{Descriptor, Digest, Index, Manifest, media_type};

use crate::document;
use crate::error::TransferError;
use crate::reference;

/// `oci-layout`.
pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// An image in docker's `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    config: String,
    /// As docker's users write them; names that are no references are left out.
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl DockerImage {
    pub(super) fn new(manifest: &Manifest, names: &[String]) -> DockerImage {
        let tags: Vec<String> = names
            .iter()
            .filter_map(|name| reference::familiarize(name))
            .collect();
        let layers: Vec<String> = manifest
            .layers
            .iter()
            .map(|layer| blob_name(&layer.digest))
            .collect();
        DockerImage {
            config: blob_name(&manifest.config.digest),
            // Go writes an empty list as null.
            repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
            layers: Some(layers).filter(|layers| !layers.is_empty()),
        }
    }
}

/// The name of a blob in an archive.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// `index.json`.
pub(super) fn index(manifests: Vec<Descriptor>) -> Result<Vec<u8>, TransferError> {
    json(&Index {
        schema_version: 2,
        media_type: Some(media_type::INDEX.to_owned()),
        manifests,
        annotations: BTreeMap::new(),
    })
}

/// `manifest.json`.
pub(super) fn docker(images: &[DockerImage]) -> Result<Vec<u8>, TransferError> {
    json(&images)
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, TransferError> {
    serde_json::to_vec(value).map_err(|error| document::refused("the archive's index", &error.to_string()))
}
