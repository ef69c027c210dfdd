//! Manifests, indexes and configurations, read so that nobody can take one for the other.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use transom_image::limits::LISTING_BYTES_MAX;
use transom_meta::{Caller, Metadata};
use transom_oci::limits::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};
use transom_oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};

use crate::error::TransferError;

/// What tells the kinds apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    media_type: Option<String>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// What unpacking needs of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// CPU architecture.
    #[serde(default)]
    architecture: String,
    /// Operating system.
    #[serde(default)]
    os: String,
    /// Variant of the architecture.
    #[serde(default)]
    variant: Option<String>,
    /// Version of the operating system.
    #[serde(default, rename = "os.version")]
    os_version: Option<String>,
    /// The layers.
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct RootFs {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

impl Config {
    /// The platform, normalised; none if it does not say.
    #[must_use]
    pub fn platform(&self) -> Option<Platform> {
        if self.os.is_empty() && self.architecture.is_empty() {
            return None;
        }
        let mut platform = Platform::new(&self.os, &self.architecture, self.variant.as_deref());
        platform.os_version = self.os_version.clone().filter(|version| !version.is_empty());
        Some(platform)
    }

    /// The digests of the uncompressed layers, lowest first; none if the root filesystem is not made of layers.
    #[must_use]
    pub fn diff_ids(&self) -> Option<&[Digest]> {
        match self.rootfs.kind.as_str() {
            "" | "layers" => Some(self.rootfs.diff_ids.as_deref().unwrap_or_default()),
            _ => None,
        }
    }
}

/// Reads an index.
///
/// # Errors
/// [`TransferError::Document`].
pub fn index(bytes: &[u8], name: &str) -> Result<Index, TransferError> {
    let probe = probe(bytes, name)?;
    let is_manifest = probe.media_type.as_deref().is_some_and(media_type::is_manifest);
    if is_manifest || probe.config.is_some() || probe.layers.is_some() {
        return Err(refused(name, "expected an index but found a manifest"));
    }
    json(bytes, name)
}

/// Reads a manifest.
///
/// # Errors
/// [`TransferError::Document`].
pub fn manifest(bytes: &[u8], name: &str) -> Result<Manifest, TransferError> {
    let probe = probe(bytes, name)?;
    let is_index = probe.media_type.as_deref().is_some_and(media_type::is_index);
    if is_index || probe.manifests.is_some() {
        return Err(refused(name, "expected a manifest but found an index"));
    }
    json(bytes, name)
}

fn probe(bytes: &[u8], name: &str) -> Result<Probe, TransferError> {
    let probe: Probe = json(bytes, name)?;
    if probe.fs_layers.is_some() {
        return Err(refused(
            name,
            "docker's schema 1 is not supported; build or pull the image again",
        ));
    }
    Ok(probe)
}

/// Reads JSON.
///
/// # Errors
/// [`TransferError::Document`].
pub fn json<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T, TransferError> {
    serde_json::from_slice(bytes).map_err(|error| refused(name, &error.to_string()))
}

pub(crate) fn refused(name: &str, problem: &str) -> TransferError {
    TransferError::Document {
        document: name.to_owned(),
        problem: problem.to_owned(),
    }
}

/// The bytes of a document in the store.
///
/// # Errors
/// [`TransferError::Meta`] if it is not there, [`TransferError::Limit`], [`TransferError::Read`], [`TransferError::Damaged`],
/// [`TransferError::Document`] if it is not as long as its descriptor says.
pub async fn load(metadata: &Metadata, caller: &Caller, of: &Descriptor) -> Result<Vec<u8>, TransferError> {
    let limit = match of.media_type.as_str() {
        // One lists a whole mirror where an archive has it as its root.
        media_type::INDEX => LISTING_BYTES_MAX,
        kind if media_type::is_image_config(kind) => CONFIG_BYTES_MAX,
        _ => MANIFEST_BYTES_MAX,
    };
    let blob = metadata.content_reader(caller, &of.digest).await?;
    let size = blob.size();
    if size > limit {
        return Err(TransferError::Limit {
            what: format!("the {size} bytes of {}", of.digest),
            limit,
        });
    }
    if size != of.size {
        let problem = format!("it has {size} bytes, its descriptor says {}", of.size);
        return Err(refused(of.digest.as_str(), &problem));
    }
    let digest = of.digest.clone();
    let read = tokio::task::spawn_blocking(move || read(blob, &digest));
    read.await
        .map_err(|_| TransferError::Panicked { what: "a read" })?
}

fn read(mut blob: transom_content::Blob, digest: &Digest) -> Result<Vec<u8>, TransferError> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut blob, &mut bytes).map_err(|source| TransferError::Read {
        digest: digest.clone(),
        source,
    })?;
    let actual = Digest::of(digest.algorithm(), &bytes);
    if actual != *digest {
        let digest = digest.clone();
        return Err(TransferError::Damaged { digest, actual });
    }
    Ok(bytes)
}
