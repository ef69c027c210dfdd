//! What is known of an image: in a registry, or in the stores.

use serde::Deserialize;
use transom_client::Remote;
use transom_meta::images::Image;
use transom_meta::policy::Judged;
use transom_meta::{Caller, Error, Labels, Metadata};
use transom_oci::{Descriptor, Platform, media_type};

use super::Subject;
use crate::error::TransferError;
use crate::{document, image_store};

/// What policies need of a manifest or an index.
#[derive(Default, Deserialize)]
struct Document {
    #[serde(default)]
    annotations: Option<Labels>,
    #[serde(default)]
    config: Option<serde_json::Value>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

/// What policies need of a configuration.
#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<serde_json::Value>,
}

impl Config {
    /// One that is none says nothing.
    fn read(bytes: &[u8]) -> Config {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    fn labels(&self) -> Labels {
        let labels = self.config.as_ref().and_then(|config| config.get("Labels"));
        let labels = labels.and_then(|labels| serde_json::from_value(labels.clone()).ok());
        labels.unwrap_or_default()
    }

    fn platform(&self) -> Option<String> {
        let known = !self.os.is_empty() && !self.architecture.is_empty();
        known.then(|| Platform::new(&self.os, &self.architecture, self.variant.as_deref()).to_string())
    }
}

/// Of an image in a registry.
pub(super) async fn remote(subject: &Subject<'_>) -> Result<Judged, transom_client::Error> {
    let (remote, root) = (subject.remote, subject.descriptor);
    let mut annotations = root.annotations.clone();
    let document = fetched(remote, root).await?;
    annotations.extend(document.annotations.unwrap_or_default());
    let host = Platform::host();
    let platform = subject.platform.unwrap_or(&host);
    let mut config = document.config;
    if media_type::is_index(&root.media_type) {
        config = None;
        match remote.for_platform(root.clone(), platform).await {
            Ok(manifest) => {
                let document = fetched(remote, &manifest).await?;
                annotations.extend(document.annotations.unwrap_or_default());
                config = document.config;
            }
            // Then there is no more to be known, nor to be unpacked.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let config = match config_of(config) {
        Some(of) => Config::read(&remote.small_blob(&of).await?),
        None => Config::default(),
    };
    Ok(Judged {
        kind: "image",
        name: subject.name.to_owned(),
        digest: root.digest.to_string(),
        media_type: root.media_type.clone(),
        size: root.size,
        annotations,
        labels: config.labels(),
        platform: config.platform(),
    })
}

/// Of an image in the stores. What is said in its content counts more than what is said of the name: whoever gives the name
/// says that. Content that is not there says nothing.
pub(super) async fn stored(
    metadata: &Metadata,
    caller: &Caller,
    image: &Image,
) -> Result<Judged, TransferError> {
    let root = image_store::descriptor(image)?;
    let stored = Stored { metadata, caller };
    let mut annotations = root.annotations.clone();
    let document: Document = stored.document(&root).await?;
    annotations.extend(document.annotations.unwrap_or_default());
    let mut config = document.config;
    if media_type::is_index(&root.media_type) {
        config = None;
        if let Some(manifest) = for_this_machine(document.manifests.unwrap_or_default()) {
            let document = stored.document(&manifest).await?;
            annotations.extend(document.annotations.unwrap_or_default());
            config = document.config;
        }
    }
    let config = match config_of(config) {
        Some(of) => Config::read(&stored.bytes(&of).await?.unwrap_or_default()),
        None => Config::default(),
    };
    let mut labels = image.labels.clone();
    labels.extend(config.labels());
    Ok(Judged {
        kind: "image",
        name: image.name.clone(),
        digest: image.target.digest.clone(),
        media_type: root.media_type,
        size: root.size,
        annotations,
        labels,
        platform: config.platform(),
    })
}

async fn fetched(remote: &Remote, of: &Descriptor) -> Result<Document, transom_client::Error> {
    let fetched = remote.manifest(of.digest.as_str()).await?;
    // One that is no document is refused when it is pulled.
    Ok(serde_json::from_slice(&fetched.bytes).unwrap_or_default())
}

/// The configuration of an image, if that is what a manifest has.
fn config_of(config: Option<serde_json::Value>) -> Option<Descriptor> {
    let descriptor = config.and_then(|config| serde_json::from_value::<Descriptor>(config).ok());
    descriptor.filter(|of| media_type::is_image_config(&of.media_type))
}

/// The manifest of an index that this machine would run.
fn for_this_machine(manifests: Vec<Descriptor>) -> Option<Descriptor> {
    let host = Platform::host();
    let rank = |of: &Descriptor| host.rank(of.platform.as_ref()?);
    let ranked = manifests.into_iter().filter_map(|of| Some((rank(&of)?, of)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, of)| of)
}

/// The content of a namespace.
struct Stored<'a> {
    metadata: &'a Metadata,
    caller: &'a Caller,
}

impl Stored<'_> {
    /// The bytes of a document, if it is there.
    async fn bytes(&self, of: &Descriptor) -> Result<Option<Vec<u8>>, TransferError> {
        match document::load(self.metadata, self.caller, of).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(TransferError::Meta(Error::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn document(&self, of: &Descriptor) -> Result<Document, TransferError> {
        // What else an image may name is no document, and may be large.
        if !media_type::is_index(&of.media_type) && !media_type::is_manifest(&of.media_type) {
            return Ok(Document::default());
        }
        match self.bytes(of).await? {
            Some(bytes) => document::json(&bytes, of.digest.as_str()),
            None => Ok(Document::default()),
        }
    }
}
