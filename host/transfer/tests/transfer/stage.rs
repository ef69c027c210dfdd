//! Stores in a temporary folder, and archives made on the spot.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tempfile::TempDir;
use transom_content::Store;
use transom_meta::filter::{Filters, Plugins};
use transom_meta::images::Image;
use transom_meta::kv::memory::Memory;
use transom_meta::{Caller, Class, Labels, Metadata, Namespace, Options};
use transom_oci::{Algorithm, Descriptor, Digest, Platform, media_type};
use transom_transfer::unpack::Unpacker;
use transom_transfer::{
    ExportOptions, ImageStore, ImportOptions, Progress, ProgressSink, Reference, TransferError, Transfers,
};

pub(crate) struct Stage {
    pub(crate) metadata: Metadata,
    pub(crate) transfers: Transfers,
    pub(crate) told: Arc<Told>,
    _folder: TempDir,
}

/// Events that were told.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<Progress>>);

impl ProgressSink for Told {
    fn tell(&self, progress: Progress) {
        self.0.lock().unwrap().push(progress);
    }
}

impl Told {
    pub(crate) fn names(&self, event: &str) -> Vec<String> {
        let told = self.0.lock().unwrap();
        let named = told.iter().filter(|progress| progress.event == event);
        named.map(|progress| progress.name.clone()).collect()
    }
}

pub(crate) fn caller() -> Caller {
    Caller::new(Namespace::new("testing").unwrap())
}

impl Stage {
    pub(crate) async fn new() -> Stage {
        Stage::with(None).await
    }

    pub(crate) async fn with(unpacker: Option<Unpacker>) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Store::open(folder.path().join("content")).unwrap();
        let metadata = Metadata::open(Arc::new(Memory::new()), blobs, Options::default())
            .await
            .unwrap();
        Stage {
            transfers: Transfers::new(metadata.clone(), unpacker),
            metadata,
            told: Arc::default(),
            _folder: folder,
        }
    }

    pub(crate) async fn import(
        &self,
        archive: &[u8],
        into: &ImageStore,
    ) -> Result<Vec<Image>, TransferError> {
        self.import_with(archive, into, ImportOptions::default()).await
    }

    pub(crate) async fn import_with(
        &self,
        archive: &[u8],
        into: &ImageStore,
        options: ImportOptions,
    ) -> Result<Vec<Image>, TransferError> {
        let told = self.told.clone();
        let source = Box::new(chunks(archive));
        self.transfers
            .import(&caller(), source, options, into, told)
            .await
    }

    pub(crate) async fn export(
        &self,
        names: &[&str],
        options: &ExportOptions,
    ) -> Result<Vec<u8>, TransferError> {
        let images = ImageStore {
            references: names.iter().map(|name| plain(name)).collect(),
            ..ImageStore::default()
        };
        let mut archive = Vec::new();
        self.transfers
            .export(&caller(), &images, options, &mut archive, &*self.told)
            .await?;
        Ok(archive)
    }

    /// The digests of all content.
    pub(crate) async fn content(&self) -> BTreeSet<String> {
        let filters = Arc::new(Filters::compile(&[], &Plugins::default()).unwrap());
        let page = self.metadata.content_list_page(&caller(), &filters, None).await;
        let (records, _) = page.unwrap();
        records
            .into_iter()
            .map(|record| record.digest.to_string())
            .collect()
    }

    pub(crate) async fn labels(&self, bytes: &[u8]) -> Labels {
        let info = self.metadata.content_info(&caller(), &digest(bytes)).await;
        info.unwrap().labels
    }

    /// What is left when the collector has run: the leases of ended transfers are deleted beside them.
    pub(crate) async fn collected(&self) -> BTreeSet<String> {
        while !self
            .metadata
            .leases(&caller().namespace, &[])
            .await
            .unwrap()
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
        self.metadata.collect().await.unwrap();
        assert!(
            self.metadata
                .ingest_statuses(&caller(), &[])
                .await
                .unwrap()
                .is_empty()
        );
        self.content().await
    }
}

/// Bytes in chunks of an odd size.
pub(crate) fn chunks(bytes: &[u8]) -> std::vec::IntoIter<Bytes> {
    let chunks: Vec<Bytes> = bytes.chunks(30_011).map(Bytes::copy_from_slice).collect();
    chunks.into_iter()
}

pub(crate) fn plain(name: &str) -> Reference {
    Reference {
        name: name.to_owned(),
        ..Reference::default()
    }
}

/// A store that takes the names in an archive as they are, and completes tags.
pub(crate) fn any_name() -> ImageStore {
    ImageStore {
        references: vec![Reference {
            is_prefix: true,
            allow_overwrite: true,
            ..plain("import.test/any")
        }],
        ..ImageStore::default()
    }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(crate) fn blob_name(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", digest(bytes).hex())
}

pub(crate) fn descriptor(kind: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(kind, digest(bytes), bytes.len() as u64)
}

/// A tar of files with these names; folders end in a slash.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = header(name, bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn header(name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    // As it is, also where a tar program would refuse it.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) const LAYOUT: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);

/// An image of some layers.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) platform: Platform,
}

impl Sample {
    /// An image for a platform; each layer has one file, and is compressed.
    pub(crate) fn new(platform: &str, layers: &[&str]) -> Sample {
        let tars: Vec<Vec<u8>> = layers
            .iter()
            .map(|text| tar(&[(text, text.as_bytes())]))
            .collect();
        Sample::of_tars(platform, &tars)
    }

    /// An image of these layers, compressed.
    pub(crate) fn of_tars(platform: &str, tars: &[Vec<u8>]) -> Sample {
        let platform: Platform = platform.parse().unwrap();
        let diff_ids: Vec<Digest> = tars.iter().map(|tar| digest(tar)).collect();
        let config = serde_json::json!({
            "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": descriptor(media_type::IMAGE_CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(media_type::LAYER_TAR_GZIP, layer)).collect::<Vec<_>>(),
        });
        Sample {
            layers,
            config,
            manifest: manifest.to_string().into_bytes(),
            platform,
        }
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        descriptor(media_type::MANIFEST, &self.manifest)
    }

    pub(crate) fn with_platform(&self) -> Descriptor {
        let mut descriptor = self.descriptor();
        descriptor.platform = Some(self.platform.clone());
        descriptor
    }

    pub(crate) fn blobs(&self) -> Vec<&[u8]> {
        let layers = self.layers.iter().map(Vec::as_slice);
        layers.chain([&*self.config, &*self.manifest]).collect()
    }

    pub(crate) fn digests(&self) -> BTreeSet<String> {
        self.blobs()
            .into_iter()
            .map(|blob| digest(blob).to_string())
            .collect()
    }

    pub(crate) fn diff_ids(&self) -> Vec<Digest> {
        let config: serde_json::Value = serde_json::from_slice(&self.config).unwrap();
        serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap()
    }
}

/// A descriptor with the annotation that gives it a name.
pub(crate) fn named(mut descriptor: Descriptor, name: &str) -> Descriptor {
    let key = "org.opencontainers.image.ref.name".to_owned();
    descriptor.annotations.insert(key, name.to_owned());
    descriptor
}

pub(crate) fn index(manifests: &[Descriptor]) -> Vec<u8> {
    serde_json::json!({ "schemaVersion": 2, "manifests": manifests })
        .to_string()
        .into_bytes()
}

/// An archive of a layout, in the order of containerd's: blobs, index, version.
pub(crate) fn layout(blobs: &[&[u8]], index: &[u8]) -> Vec<u8> {
    let names: Vec<String> = blobs.iter().map(|blob| blob_name(blob)).collect();
    let mut files: Vec<(&str, &[u8])> = names
        .iter()
        .map(String::as_str)
        .zip(blobs.iter().copied())
        .collect();
    files.push(("index.json", index));
    files.push(LAYOUT);
    tar(&files)
}

/// An archive with one image of this name.
pub(crate) fn archive(sample: &Sample, name: &str) -> Vec<u8> {
    let index = index(&[named(sample.descriptor(), name)]);
    layout(&sample.blobs(), &index)
}

pub(crate) fn image_names(images: &[Image]) -> Vec<&str> {
    images.iter().map(|image| image.name.as_str()).collect()
}

/// Class and text of an error.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, TransferError>) -> (Class, String) {
    let error = result.unwrap_err();
    (error.class(), error.to_string())
}
