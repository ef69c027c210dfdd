//! Images for the command: the sample, and small ones that can be broken in any place.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use transom_oci::{Algorithm, Digest, Platform, media_type};
use transom_tests::sample::{self, Compression, Options, Sample};

/// The sample image, which needs something that reads xz.
pub(crate) fn small(folder: &Path) -> Sample {
    sample::small(&Options::here(folder), &folder.join("image")).unwrap()
}

/// Arguments that let the `xz` program read layers in xz.
pub(crate) fn xz_processor() -> Option<[String; 2]> {
    let program = transom_tests::require_program("xz")?;
    let spec = format!(
        "id=xz,accepts={},returns={},path={},arg=-dc",
        sample::LAYER_TAR_XZ,
        media_type::LAYER_TAR,
        program.display()
    );
    Some(["--processor".to_owned(), spec])
}

/// A tar in the making.
pub(crate) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn file(mut self, name: &str, content: &[u8]) -> Tar {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        self.0.append_data(&mut header, name, content).unwrap();
        self
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// A layer that need not be what it says.
#[derive(Clone)]
pub(crate) struct RawLayer {
    pub(crate) media_type: String,
    /// What is stored.
    pub(crate) blob: Vec<u8>,
    pub(crate) diff_id: Digest,
}

impl RawLayer {
    /// A sound layer.
    pub(crate) fn new(tar: &[u8], compression: Compression) -> RawLayer {
        RawLayer {
            media_type: compression.media_type().to_owned(),
            blob: compression.compress(tar).unwrap(),
            diff_id: Digest::of(Algorithm::Sha256, tar),
        }
    }

    /// A blob under some media type; whoever gets through it finds the tar that it names.
    pub(crate) fn typed(media_type: &str, blob: Vec<u8>, tar: &[u8]) -> RawLayer {
        RawLayer {
            media_type: media_type.to_owned(),
            blob,
            diff_id: Digest::of(Algorithm::Sha256, tar),
        }
    }
}

/// An OCI layout of layers as they are.
pub(crate) struct RawImage {
    pub(crate) layout: PathBuf,
    /// The layers' blobs.
    pub(crate) blobs: Vec<PathBuf>,
}

impl RawImage {
    pub(crate) fn write(layout: &Path, layers: &[RawLayer]) -> RawImage {
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |media_type: &str, bytes: &[u8]| {
            let digest = Digest::of(Algorithm::Sha256, bytes);
            fs::write(blobs.join(digest.hex()), bytes).unwrap();
            json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
        };
        let platform = Platform::host();
        let diff_ids: Vec<_> = layers.iter().map(|layer| &layer.diff_id).collect();
        let config = json!({
            "os": platform.os, "architecture": platform.architecture,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = put(media_type::IMAGE_CONFIG, config.to_string().as_bytes());
        let descriptors: Vec<_> = layers
            .iter()
            .map(|layer| put(&layer.media_type, &layer.blob))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": descriptors,
        });
        let manifest = put(media_type::MANIFEST, manifest.to_string().as_bytes());
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let paths = layers
            .iter()
            .map(|layer| blobs.join(Digest::of(Algorithm::Sha256, &layer.blob).hex()));
        RawImage {
            layout: layout.to_owned(),
            blobs: paths.collect(),
        }
    }

    /// An image of one sound gzip layer with a file in it.
    pub(crate) fn plain(layout: &Path) -> RawImage {
        let tar = Tar::new().file("file", b"content").end();
        RawImage::write(layout, &[RawLayer::new(&tar, Compression::Gzip)])
    }
}
