//! The JSON documents of an image: sized, verified, and parsed so that nobody can read them in two ways.

use std::io::Read;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use transom_oci::limits::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};
use transom_oci::{Descriptor, Digest, ImageConfig, Index, Manifest};

use crate::error::ImageError;
use crate::source::blob::{BlobReader, Extent};
use crate::source::{Source, Store};

/// What index and manifest have in common, and what tells them apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Index,
    Manifest,
}

impl Source {
    /// Reads an index; its bytes have the descriptor's size and digest.
    ///
    /// # Errors
    /// That it is missing, damaged or no index.
    pub fn read_index(&self, descriptor: &Descriptor) -> Result<Index, ImageError> {
        let bytes = self.read_verified(descriptor, MANIFEST_BYTES_MAX)?;
        let document = self.document(descriptor);
        parse(&bytes, &document, Shape::Index, Some(&descriptor.media_type))
    }

    /// Reads an image manifest; its bytes have the descriptor's size and digest.
    ///
    /// # Errors
    /// That it is missing, damaged or no manifest.
    pub fn read_manifest(&self, descriptor: &Descriptor) -> Result<Manifest, ImageError> {
        let bytes = self.read_verified(descriptor, MANIFEST_BYTES_MAX)?;
        let document = self.document(descriptor);
        parse(&bytes, &document, Shape::Manifest, Some(&descriptor.media_type))
    }

    /// Reads an image configuration; its bytes have the descriptor's size and digest.
    ///
    /// # Errors
    /// That it is missing, damaged or no configuration.
    pub fn read_config(&self, descriptor: &Descriptor) -> Result<ImageConfig, ImageError> {
        let bytes = self.read_verified(descriptor, CONFIG_BYTES_MAX)?;
        parse_json(&bytes, &self.document(descriptor))
    }

    fn read_verified(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, ImageError> {
        // Before anything is read: the descriptor alone tells that the document is not acceptable.
        check_size(descriptor.size, limit, || self.document(descriptor))?;
        let mut blob = self.find_blob(descriptor)?;
        let bytes = read_all(&mut blob, self.origin(), limit, || self.document(descriptor))?;
        let actual = Digest::of(descriptor.digest.algorithm(), &bytes);
        if actual != descriptor.digest {
            return Err(ImageError::WrongDigest {
                digest: descriptor.digest.clone(),
                origin: self.origin().to_owned(),
                actual,
            });
        }
        Ok(bytes)
    }

    /// How errors call a document.
    pub(crate) fn document(&self, descriptor: &Descriptor) -> String {
        format!("{} in {}", descriptor.digest, self.origin())
    }
}

/// Reads a file of the source by its name; `None` when it is not there.
pub(crate) fn read_named(
    store: &Store,
    name: &str,
    origin: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, ImageError> {
    let Some(mut file) = store.open(name)? else {
        return Ok(None);
    };
    read_all(&mut file, origin, limit, || named(name, origin)).map(Some)
}

/// How errors call a file of a source.
pub(crate) fn named(name: &str, origin: &str) -> String {
    format!("{name:?} in {origin}")
}

fn read_all(
    file: &mut Extent,
    origin: &str,
    limit: u64,
    document: impl FnOnce() -> String,
) -> Result<Vec<u8>, ImageError> {
    check_size(file.size(), limit, document)?;
    let mut bytes = Vec::new();
    let read = file.read_to_end(&mut bytes);
    read.map_err(|source| ImageError::Io {
        action: "read",
        path: origin.into(),
        source,
    })?;
    Ok(bytes)
}

fn check_size(size: u64, limit: u64, document: impl FnOnce() -> String) -> Result<(), ImageError> {
    if size <= limit {
        return Ok(());
    }
    Err(ImageError::TooLarge {
        document: document(),
        size,
        limit,
    })
}

/// Parses JSON of any shape.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8], document: &str) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::NotJson {
        document: document.to_owned(),
        source,
    })
}

/// Parses an index or manifest. One that could pass for both, or that gives itself another media type than its
/// descriptor, is refused: programs that believe one or the other would unpack different images.
pub(crate) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    document: &str,
    shape: Shape,
    media_type: Option<&str>,
) -> Result<T, ImageError> {
    let probe: Probe = parse_json(bytes, document)?;
    match probe.schema_version {
        Some(1) => {
            return Err(ImageError::Schema1 {
                document: document.to_owned(),
            });
        }
        None | Some(2) => {}
        Some(version) => {
            return Err(ImageError::SchemaVersion {
                document: document.to_owned(),
                version,
            });
        }
    }
    let refuse = |problem: String| ImageError::Contradiction {
        document: document.to_owned(),
        problem,
    };
    if let (Some(stated), Some(expected)) = (&probe.media_type, media_type)
        && stated != expected
    {
        return Err(refuse(format!(
            "it says it is {stated:?}, its descriptor says {expected:?}"
        )));
    }
    if shape == Shape::Manifest && probe.manifests.is_some() {
        return Err(refuse("it should be a manifest and lists manifests".into()));
    }
    if shape == Shape::Index && (probe.layers.is_some() || probe.fs_layers.is_some()) {
        return Err(refuse("it should be an index and lists layers".into()));
    }
    parse_json(bytes, document)
}
