//! How an artifact is made: the blobs of it, the same for the same component on every machine and at every time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use transom_oci::{Algorithm, Descriptor, Digest, media_type};

use super::error::ArtifactError;
use super::{CONFIG, DESCRIPTION, LAYER, LICENSES, TITLE, VERSION, readable};
use crate::manifest::Manifest;
use crate::world::World;

/// The configuration of a component: the layout of the CNCF's working group for WebAssembly, which `wkg` reads and writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    /// When it was made. The same plugin has to have the same digest, so this is the beginning of time.
    pub(super) created: String,
    /// Always `wasm`.
    pub(super) architecture: String,
    /// What a component is run by.
    pub(super) os: String,
    /// The layers again, so that no two artifacts have one configuration.
    #[serde(default)]
    pub(super) layer_digests: Vec<Digest>,
    /// What the component imports and exports.
    pub(super) component: Option<Names>,
}

/// What a component imports and exports, and its world.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Names {
    #[serde(default)]
    pub(super) exports: Vec<String>,
    #[serde(default)]
    pub(super) imports: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

/// The blobs of an artifact.
#[derive(Clone, Debug)]
pub struct Package {
    blobs: [(Descriptor, Vec<u8>); 3],
}

impl Package {
    /// The artifact of a component that was loaded: `manifest` is what it amounts to, declared or not.
    ///
    /// # Errors
    ///
    /// [`ArtifactError::Component`] if it is none.
    pub fn new(component: Vec<u8>, manifest: &Manifest) -> Result<Package, ArtifactError> {
        let names = readable(&component)?;
        let target = Some(World::of(&names).name.to_owned());
        let mut layer = describe(LAYER, &component);
        let config = Config {
            created: "1970-01-01T00:00:00Z".to_owned(),
            architecture: "wasm".to_owned(),
            os: "wasip2".to_owned(),
            layer_digests: vec![layer.digest.clone()],
            component: Some(Names {
                exports: names.exports,
                imports: names.imports,
                target,
            }),
        };
        let config = text(&config)?;
        // The name of the file that other tools write.
        layer
            .annotations
            .insert(TITLE.to_owned(), format!("{}.wasm", manifest.name));
        let document = transom_oci::Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            artifact_type: None,
            config: describe(CONFIG, &config),
            layers: vec![layer.clone()],
            subject: None,
            annotations: annotations(manifest),
        };
        let text = text(&document)?;
        Ok(Package {
            blobs: [
                (document.config, config),
                (layer, component),
                (describe(media_type::MANIFEST, &text), text),
            ],
        })
    }

    /// The manifest.
    pub fn descriptor(&self) -> &Descriptor {
        &self.blobs[2].0
    }

    /// The component, as it is in a file of its own.
    pub fn component(&self) -> &[u8] {
        &self.blobs[1].1
    }

    /// The configuration, the component and the manifest, in the order in which they are to be stored.
    pub fn blobs(&self) -> impl Iterator<Item = (&Descriptor, &[u8])> {
        self.blobs
            .iter()
            .map(|(descriptor, bytes)| (descriptor, bytes.as_slice()))
    }
}

/// What people and registries read of it.
fn annotations(manifest: &Manifest) -> BTreeMap<String, String> {
    let license = manifest.license.clone().unwrap_or_default();
    [
        (TITLE, manifest.name.clone()),
        (VERSION, manifest.version.clone()),
        (DESCRIPTION, manifest.description.clone()),
        (LICENSES, license),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// The descriptor of some bytes.
pub(super) fn describe(kind: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(kind, Digest::of(Algorithm::Sha256, bytes), bytes.len() as u64)
}

/// A document as its bytes.
pub(super) fn text(document: &impl Serialize) -> Result<Vec<u8>, ArtifactError> {
    serde_json::to_vec(document).map_err(|error| ArtifactError::NotAPlugin(error.to_string()))
}
