//! Sample images, made on the spot, together with the tree that unpacking them must give.
//!
//! Read in this order: [`plans`] (which images there are), [`ImageBuilder`] here, [`LayerWriter`] (a layer's
//! tar and what it changes), [`Compression`], [`Sample`] (the image's files in three forms).
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! use transom_tests::sample::{self, Options};
//! let folder = std::path::Path::new("/tmp/sample");
//! let sample = sample::small(&Options::here(folder), folder)?;
//! println!("{}:{}", sample.layout.display(), sample.tag);
//! # Ok(())
//! # }
//! ```

mod compress;
mod layer;
mod layout;
mod model;
mod plans;
mod real;
mod specimens;

use std::io;
use std::path::{Path, PathBuf};

use transom_oci::manifest::{History, RootFs};
use transom_oci::{Algorithm, Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_type};

pub use compress::{Compression, LAYER_TAR_XZ};
pub use layer::{LayerWriter, LongNames, Meta};
pub use plans::{Options, SECRETS_FILE, demo, small};

use crate::tree::Tree;
use layout::Blobs;
use model::Model;

/// When generated images say that they were made.
const CREATED: &str = "2023-11-14T22:13:20Z";
/// Says a manifest's tag in `index.json` (image specification, "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What `index.json` points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The manifest itself.
    Flat,
    /// An index, which lists the manifest for this machine and one for another platform.
    Nested,
}

/// Makes an image layer by layer.
#[derive(Debug, Default)]
pub struct ImageBuilder {
    model: Model,
    layers: Vec<SampleLayer>,
}

/// One layer of a sample image.
#[derive(Clone, Debug)]
pub struct SampleLayer {
    /// What it was made for.
    pub comment: String,
    /// The blob as it is in the image.
    pub descriptor: Descriptor,
    /// The digest of the tar.
    pub diff_id: Digest,
    /// The tar.
    pub tar: Vec<u8>,
    /// The blob.
    pub blob: Vec<u8>,
}

/// An image on disk, and what it must unpack to.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The folder of the OCI layout.
    pub layout: PathBuf,
    /// The tag of the image in it.
    pub tag: String,
    /// The manifest for this machine's platform.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<SampleLayer>,
    /// What all layers together unpack to.
    pub tree: Tree,
}

impl ImageBuilder {
    /// An image without layers.
    #[must_use]
    pub fn new() -> ImageBuilder {
        ImageBuilder::default()
    }

    /// Adds a layer with the entries that `fill` writes.
    ///
    /// # Errors
    /// What `fill` returns, or a compressor's failure.
    pub fn layer(
        &mut self,
        comment: &str,
        compression: Compression,
        fill: impl FnOnce(&mut LayerWriter<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut writer = LayerWriter::new(&mut self.model);
        fill(&mut writer)?;
        let tar = writer.finish();
        let blob = compression.compress(&tar)?;
        let digest = Digest::of(Algorithm::Sha256, &blob);
        self.layers.push(SampleLayer {
            comment: comment.to_owned(),
            descriptor: Descriptor::new(compression.media_type(), digest, blob.len() as u64),
            diff_id: Digest::of(Algorithm::Sha256, &tar),
            tar,
            blob,
        });
        Ok(())
    }

    /// What the layers so far unpack to.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.model.tree()
    }

    /// Writes the image as an OCI layout to a folder, which is made if need be. Blobs and `index.json` of an
    /// earlier image there are replaced.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn write(self, folder: &Path, tag: &str, shape: Shape) -> io::Result<Sample> {
        let mut blobs = Blobs::create(folder)?;
        let tree = self.tree();
        let platform = Platform::host();
        let (mut manifest, config) = write_manifest(&mut blobs, &platform, &self.layers)?;
        let entry = match shape {
            Shape::Flat => manifest.clone(),
            Shape::Nested => {
                let other = other_platform(&platform);
                let mut foreign = ImageBuilder::new();
                foreign.layer("for another platform", Compression::Gzip, |layer| {
                    layer.file(b"platform", &Meta::new(0o644), other.to_string().as_bytes());
                    Ok(())
                })?;
                let (mut foreign, _) = write_manifest(&mut blobs, &other, &foreign.layers)?;
                foreign.platform = Some(other);
                manifest.platform = Some(platform);
                let index = index_of(vec![foreign, manifest.clone()]);
                blobs.put_json(media_type::INDEX, &index)?
            }
        };
        let mut tagged = entry;
        tagged.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        blobs.finish(&index_of(vec![tagged]))?;
        Ok(Sample {
            layout: folder.to_path_buf(),
            tag: tag.to_owned(),
            manifest,
            config,
            layers: self.layers,
            tree,
        })
    }
}

impl Sample {
    /// The names in `name:tag` form that the archives carry.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("transom.example/sample:{}", self.tag)
    }

    /// Writes the layout as an OCI archive: a tar of the folder.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn write_oci_archive(&self, file: &Path) -> io::Result<()> {
        layout::write_oci_archive(&self.layout, file)
    }

    /// Writes the image in the form of `docker save`: `manifest.json`, the configuration and plain layers.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn write_docker_archive(&self, file: &Path) -> io::Result<()> {
        layout::write_docker_archive(self, file)
    }
}

fn write_manifest(
    blobs: &mut Blobs,
    platform: &Platform,
    layers: &[SampleLayer],
) -> io::Result<(Descriptor, Descriptor)> {
    let config = ImageConfig {
        platform: platform.clone(),
        created: Some(CREATED.to_owned()),
        config: Some(serde_json::json!({ "Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/usr/bin/env"] })),
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        },
        history: layers.iter().flat_map(history_of).collect(),
    };
    let config = blobs.put_json(media_type::IMAGE_CONFIG, &config)?;
    for layer in layers {
        blobs.put(&layer.descriptor.digest, &layer.blob)?;
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::MANIFEST.to_owned()),
        artifact_type: None,
        config: config.clone(),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        subject: None,
        annotations: [("org.opencontainers.image.created".to_owned(), CREATED.to_owned())].into(),
    };
    let manifest = blobs.put_json(media_type::MANIFEST, &manifest)?;
    Ok((manifest, config))
}

/// Two steps for each layer: one that made it, and one, as real images have them, that made none.
fn history_of(layer: &SampleLayer) -> [History; 2] {
    let step = |text: &str, empty_layer: bool| History {
        created: Some(CREATED.to_owned()),
        created_by: Some(text.to_owned()),
        comment: None,
        empty_layer,
    };
    [
        step(&layer.comment, false),
        step(&format!("LABEL after={}", layer.diff_id.short()), true),
    ]
}

fn index_of(manifests: Vec<Descriptor>) -> Index {
    Index {
        schema_version: 2,
        media_type: Some(media_type::INDEX.to_owned()),
        manifests,
        annotations: std::collections::BTreeMap::new(),
    }
}

/// One that this machine cannot be.
fn other_platform(host: &Platform) -> Platform {
    let other = Platform::new("linux", "s390x", None);
    if *host == other {
        Platform::new("linux", "amd64", None)
    } else {
        other
    }
}
