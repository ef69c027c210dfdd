//! The listing of a `docker save` archive, `manifest.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use transom_oci::{Descriptor, Digest};

/// An image in a docker archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerEntry {
    /// The name of the configuration's file.
    pub config: String,
    /// The image's names.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub repo_tags: Vec<String>,
    /// The names of the layers' files, lowest first.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub layers: Vec<String>,
    /// The layers' descriptors by diffID, for those that were pulled from a registry.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub layer_sources: BTreeMap<String, Descriptor>,
}

fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl DockerEntry {
    /// The digest that the configuration's file name promises: docker writes `<hex>.json`, since version 25
    /// `blobs/sha256/<hex>`; other tools write `sha256:<hex>`.
    pub fn promised_config_digest(&self) -> Option<Digest> {
        let name = self.config.rsplit('/').next()?;
        let name = name.strip_suffix(".json").unwrap_or(name);
        let name = name.strip_prefix("sha256:").unwrap_or(name);
        format!("sha256:{name}").parse().ok()
    }
}
