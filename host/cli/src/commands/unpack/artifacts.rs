//! What plugins wrote about the layers of an image, as artifacts that refer to it, in an OCI layout: a registry that is given them
//! lists them as the image's referrers.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use transom_image::Image;
use transom_image::unpack::UnpackedLayer;
use transom_layer::stage::Document;
use transom_oci::{Descriptor, Digest, Manifest, media_type};

use crate::commands::registry::layout::Layout;
use crate::failure::Failure;
use crate::show::printable;

/// Where a document names the layer that it is about, and the plugin that wrote it.
const LAYER: &str = "dev.transom.layer";
const PLUGIN: &str = "dev.transom.plugin";

/// What was written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    /// What it is: the media type of its documents.
    artifact_type: String,
    /// Its manifest.
    digest: Digest,
    /// How many layers it has a document of.
    documents: usize,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written {
            artifact_type,
            digest,
            documents,
        } = self;
        let kind = printable(artifact_type);
        writeln!(f, "artifact {digest}: {kind} of {documents} layers")
    }
}

/// Writes one artifact for each kind of document, with the documents of all layers, lowest first.
pub(super) fn write(
    layout: &Layout,
    image: &Image,
    layers: &[UnpackedLayer],
) -> Result<Vec<Written>, Failure> {
    let mut kinds: BTreeMap<&str, Vec<Descriptor>> = BTreeMap::new();
    for layer in layers {
        for stage in &layer.report.stages {
            for document in &stage.outcome.documents {
                let mut descriptor = layout.put_blob(&document.media_type, &document.bytes)?;
                descriptor.annotations = annotations(document, layer, &stage.name);
                kinds.entry(&document.media_type).or_default().push(descriptor);
            }
        }
    }
    let mut written = Vec::new();
    for (kind, documents) in kinds {
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            artifact_type: Some(kind.to_owned()),
            config: layout.put_blob(media_type::EMPTY_CONFIG, b"{}")?,
            layers: documents,
            subject: Some(subject(image)),
            annotations: BTreeMap::new(),
        };
        let text = serde_json::to_vec(&manifest)
            .map_err(|error| Failure::io("cannot write a manifest", &std::io::Error::other(error)))?;
        let descriptor = layout.put_blob(media_type::MANIFEST, &text)?;
        let artifact = Written {
            artifact_type: kind.to_owned(),
            digest: descriptor.digest.clone(),
            documents: manifest.layers.len(),
        };
        layout.list(descriptor, None)?;
        written.push(artifact);
    }
    Ok(written)
}

fn annotations(document: &Document, layer: &UnpackedLayer, plugin: &str) -> BTreeMap<String, String> {
    let mut annotations = document.annotations.clone();
    annotations.insert(LAYER.to_owned(), layer.layer.descriptor.digest.to_string());
    annotations.insert(PLUGIN.to_owned(), plugin.to_owned());
    annotations
}

/// The image, without what a list says about it.
fn subject(image: &Image) -> Descriptor {
    let Descriptor {
        media_type,
        digest,
        size,
        ..
    } = image.descriptor.clone();
    Descriptor::new(media_type, digest, size)
}
