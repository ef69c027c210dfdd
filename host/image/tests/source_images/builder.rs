//! Makes small layouts and archives, right ones and wrong ones.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use transom_image::{Image, ImageError, OpenOptions, PlatformChoice, Reference, Source, resolve};
use transom_oci::{Algorithm, Digest, media_type};

/// A layout folder in the making.
pub(crate) struct Layout {
    folder: TempDir,
    entries: Vec<Value>,
}

impl Layout {
    pub(crate) fn new() -> Layout {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        std::fs::write(
            folder.path().join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        let mut layout = Layout {
            folder,
            entries: Vec::new(),
        };
        layout.write_index();
        layout
    }

    /// A layout with one image of one layer, tagged `v1`.
    pub(crate) fn simple() -> (Layout, Value) {
        let mut layout = Layout::new();
        let image = layout.image("linux/amd64", &[b"a layer"]);
        layout.list(image.clone(), Some("v1"));
        (layout, image)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn blob_path(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap();
        self.path().join("blobs").join(digest.replace(':', "/"))
    }

    pub(crate) fn blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        let descriptor = json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()});
        std::fs::write(self.blob_path(&descriptor), bytes).unwrap();
        descriptor
    }

    pub(crate) fn json(&self, kind: &str, document: &Value) -> Value {
        self.blob(kind, document.to_string().as_bytes())
    }

    pub(crate) fn manifest(&self, config: &Value, layers: &[Value]) -> Value {
        let document = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": config, "layers": layers});
        self.json(media_type::MANIFEST, &document)
    }

    /// An image of plain layers, without a platform in its descriptor.
    pub(crate) fn image(&self, platform: &str, layers: &[&[u8]]) -> Value {
        let config = self.json(media_type::IMAGE_CONFIG, &config(platform, layers));
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| self.blob(media_type::LAYER_TAR, layer))
            .collect();
        self.manifest(&config, &layers)
    }

    /// An image with its platform in the descriptor, as indexes have it.
    pub(crate) fn platform_image(&self, platform: &str) -> Value {
        let mut image = self.image(platform, &[platform.as_bytes()]);
        image["platform"] = platform_json(platform);
        image
    }

    pub(crate) fn index(&self, manifests: &[Value]) -> Value {
        let document = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
        self.json(media_type::INDEX, &document)
    }

    /// Lists something in index.json.
    pub(crate) fn list(&mut self, mut descriptor: Value, name: Option<&str>) {
        if let Some(name) = name {
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        self.entries.push(descriptor);
        self.write_index();
    }

    fn write_index(&mut self) {
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        std::fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    pub(crate) fn open(&self) -> Result<Source, ImageError> {
        open(self.path())
    }

    /// Resolves `PATH` + `selector`.
    pub(crate) fn resolve(&self, selector: &str, platform: &PlatformChoice) -> Result<Image, ImageError> {
        let reference = reference(self.path(), selector);
        resolve(&self.open()?, &reference.selector, platform)
    }

    /// The layout as an archive.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut files = Vec::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path
                        .strip_prefix(self.path())
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned();
                    files.push((name, std::fs::read(&path).unwrap()));
                }
            }
        }
        let members: Vec<_> = files.iter().map(|(name, data)| file(name, data)).collect();
        archive(&members)
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(crate) fn platform_json(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let mut value = json!({"os": parts.next(), "architecture": parts.next()});
    if let Some(variant) = parts.next() {
        value["variant"] = variant.into();
    }
    value
}

/// A configuration for plain layers.
pub(crate) fn config(platform: &str, layers: &[&[u8]]) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer).to_string()).collect();
    let mut value = platform_json(platform);
    value["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
    value
}

/// A member of an archive.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: tar::EntryType,
    pub(crate) target: String,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn file(name: &str, data: &[u8]) -> Member {
    Member {
        name: name.into(),
        kind: tar::EntryType::Regular,
        target: String::new(),
        data: data.into(),
    }
}

pub(crate) fn link(kind: tar::EntryType, name: &str, target: &str) -> Member {
    Member {
        name: name.into(),
        kind,
        target: target.into(),
        data: Vec::new(),
    }
}

pub(crate) fn symlink(name: &str, target: &str) -> Member {
    link(tar::EntryType::Symlink, name, target)
}

pub(crate) fn hard_link(name: &str, target: &str) -> Member {
    link(tar::EntryType::Link, name, target)
}

/// A header as it is written, valid or not, with its checksum.
pub(crate) fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

/// A tar archive of the members, in that order.
pub(crate) fn archive(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = header("", member.kind, member.data.len() as u64);
        if member.kind.is_file() {
            builder
                .append_data(&mut header, &member.name, member.data.as_slice())
                .unwrap();
        } else {
            builder
                .append_link(&mut header, &member.name, &member.target)
                .unwrap();
        }
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// An archive file and the folder that it lies in.
pub(crate) struct ArchiveFile {
    folder: TempDir,
}

impl ArchiveFile {
    pub(crate) fn new(bytes: &[u8]) -> ArchiveFile {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("image.tar"), bytes).unwrap();
        ArchiveFile { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("image.tar")
    }

    pub(crate) fn open(&self) -> Result<Source, ImageError> {
        open(&self.path())
    }

    pub(crate) fn resolve(&self, selector: &str) -> Result<Image, ImageError> {
        let reference = reference(&self.path(), selector);
        resolve(&self.open()?, &reference.selector, &PlatformChoice::Host)
    }
}

/// The reference of a path with a selector behind it.
pub(crate) fn reference(path: &Path, selector: &str) -> Reference {
    let mut text = path.as_os_str().to_owned();
    text.push(selector);
    Reference::parse(&text).unwrap()
}

pub(crate) fn open(path: &Path) -> Result<Source, ImageError> {
    open_with(&reference(path, ""), &mut std::io::empty())
}

pub(crate) fn open_with(reference: &Reference, stdin: &mut dyn Read) -> Result<Source, ImageError> {
    let temp = tempfile::tempdir().unwrap();
    Source::open(reference, stdin, &OpenOptions::new(temp.path()))
}

/// All bytes of one of the image's layers.
pub(crate) fn read_layer(source: &Source, image: &Image, at: usize) -> Vec<u8> {
    let mut reader = source.open_layer(&image.layers[at]).unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, reader.size());
    bytes
}

pub(crate) fn only(platform: &str) -> PlatformChoice {
    PlatformChoice::Only(platform.parse().unwrap())
}
