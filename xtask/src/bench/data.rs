//! What is unpacked: a Debian root filesystem, many small files, few big ones, each as a gzip and a zstd layer in an OCI
//! archive; and an image of many small layers. Made once and kept in `target/bench/data`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use transom_oci::media_type::{IMAGE_CONFIG, INDEX, LAYER_TAR_GZIP, LAYER_TAR_ZSTD, MANIFEST};
use transom_oci::{Algorithm, Descriptor, Digest, Hasher};
use transom_tests::sample::{Compression, ImageBuilder, Meta, Shape};

use super::peers::shell;
use crate::run::{Error, Result, file_error, run};

/// Layers of the image that shows what starting a stage costs.
pub(crate) const SMALL_LAYERS: usize = 500;
/// Files of the set of small ones, as in a large dependency tree.
const SMALL_FILES: usize = 53_000;
/// Bytes that the big files have together.
const BIG_BYTES: u64 = 546_000_000;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// `gzip -6`, by pigz.
    Gzip,
    /// `zstd -3`.
    Zstd,
}

/// One image of one layer.
#[derive(Debug)]
pub(crate) struct Image {
    /// What is in it.
    pub(crate) name: &'static str,
    /// How it is compressed.
    pub(crate) codec: Codec,
    /// An OCI archive.
    pub(crate) archive: PathBuf,
    /// The compressed layer.
    pub(crate) blob: PathBuf,
    /// The plain layer.
    pub(crate) tar: PathBuf,
    /// Its entries.
    pub(crate) entries: u64,
    bytes: u64,
}

impl Image {
    /// Name, compression and size, for a row of the report.
    pub(crate) fn title(&self) -> String {
        let codec = match self.codec {
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
        };
        format!(
            "{} {codec} ({} MB, {} entries)",
            self.name,
            self.bytes / 1_000_000,
            self.entries
        )
    }
}

/// All images, made where they are missing.
pub(crate) fn images(folder: &Path) -> Result<Vec<Image>> {
    fs::create_dir_all(folder).map_err(file_error(folder))?;
    let mut images = Vec::new();
    for (name, make) in TREES {
        let tar = folder.join(format!("{name}.tar"));
        if !tar.exists() {
            println!("making {name}, once");
            make(folder, &tar)?;
        }
        for codec in [Codec::Gzip, Codec::Zstd] {
            images.push(image(folder, name, codec, &tar)?);
        }
    }
    Ok(images)
}

/// Makes a tar at the second path, with the first as a folder to work in.
type Make = fn(&Path, &Path) -> Result<()>;

/// What there is, and what makes it.
const TREES: [(&str, Make); 3] = [
    ("min", root_filesystem),
    ("small", small_files),
    ("big", big_files),
];

fn root_filesystem(_: &Path, tar: &Path) -> Result<()> {
    let made = transom_tests::debian::root_filesystem().map_err(Error::Other)?;
    fs::copy(&made, tar).map(drop).map_err(file_error(tar))
}

/// Packs what `fill` puts into a folder, and removes the folder.
fn packed(folder: &Path, tar: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let tree = folder.join("tree");
    drop(fs::remove_dir_all(&tree));
    fs::create_dir(&tree).map_err(file_error(&tree))?;
    fill(&tree)?;
    let partial = tar.with_extension("partial");
    run(Command::new("tar")
        .args(["--format=pax", "--sort=name", "-cf"])
        .arg(&partial)
        .arg("-C")
        .arg(&tree)
        .arg("."))?;
    fs::rename(&partial, tar).map_err(file_error(tar))?;
    fs::remove_dir_all(&tree).map_err(file_error(&tree))
}

/// Text that repeats as sources do: words of a small vocabulary, by a generator with a fixed start.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn text(&mut self, bytes: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes + 16);
        while text.len() < bytes {
            let word = self.next();
            // A few words are frequent and many are rare.
            let rank = (word % 64) * (word / 64 % 64);
            let _ = write!(
                text,
                "{}{rank:x}{}",
                ["let ", "fn ", "use ", "self."][(word % 4) as usize],
                [" ", ";\n", "(", "::"][(word / 7 % 4) as usize]
            );
        }
        text.truncate(bytes);
        text
    }
}

fn small_files(folder: &Path, tar: &Path) -> Result<()> {
    packed(folder, tar, write_small_files)
}

fn write_small_files(tree: &Path) -> Result<()> {
    let mut words = Words(0x1234_5678_9abc_def1);
    for number in 0..SMALL_FILES {
        let folder = tree.join(format!("pkg-{:03}/lib-{:02}", number / 200, number / 20 % 10));
        fs::create_dir_all(&folder).map_err(file_error(&folder))?;
        // Sizes from a few hundred bytes to some 20 KB, 6 KB on average.
        let size = 300 + (words.next() % 64) * (words.next() % 64) * 6;
        let path = folder.join(format!("module-{number}.js"));
        fs::write(&path, words.text(usize::try_from(size).unwrap_or_default())).map_err(file_error(&path))?;
    }
    Ok(())
}

fn big_files(folder: &Path, tar: &Path) -> Result<()> {
    packed(folder, tar, write_big_files)
}

/// Few big files, made of this machine's libraries and programs one after the other, as in large binaries.
fn write_big_files(tree: &Path) -> Result<()> {
    const FILE_BYTES: u64 = BIG_BYTES / 6;
    let mut sources = large_files(Path::new("/usr"))?.into_iter().cycle();
    for number in 0..6 {
        let path = tree.join(format!("model-{number}.bin"));
        let mut out = BufWriter::new(File::create(&path).map_err(file_error(&path))?);
        let mut left = FILE_BYTES;
        while left > 0 {
            let source = sources
                .next()
                .ok_or_else(|| Error::Other("no large files below /usr".into()))?;
            let file = File::open(&source).map_err(file_error(&source))?;
            left -= io::copy(&mut file.take(left), &mut out).map_err(file_error(&path))?;
        }
        out.flush().map_err(file_error(&path))?;
    }
    Ok(())
}

/// Files of 200 KB and more, in the order of their names.
fn large_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(file_error(&folder))?.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) if metadata.is_file() && metadata.len() >= 200_000 => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn image(folder: &Path, name: &'static str, codec: Codec, tar: &Path) -> Result<Image> {
    let (suffix, media_type, script) = match codec {
        Codec::Gzip => ("gz", LAYER_TAR_GZIP, "pigz -6 -n -c \"$0\" > \"$1\""),
        Codec::Zstd => ("zst", LAYER_TAR_ZSTD, "zstd -q -3 -c \"$0\" > \"$1\""),
    };
    let blob = folder.join(format!("{name}.tar.{suffix}"));
    let archive = folder.join(format!("{name}-{suffix}.oci.tar"));
    if !archive.exists() {
        let partial = blob.with_extension("partial");
        shell(script, &[tar, &partial])?;
        fs::rename(&partial, &blob).map_err(file_error(&blob))?;
        write_archive(&archive, &blob, media_type, &digest_of(tar)?.0)?;
    }
    let bytes = fs::metadata(tar).map_err(file_error(tar))?.len();
    Ok(Image {
        name,
        codec,
        archive,
        blob,
        tar: tar.to_owned(),
        entries: count_entries(tar)?,
        bytes,
    })
}

pub(crate) fn digest_of(path: &Path) -> Result<(Digest, u64)> {
    let mut file = File::open(path).map_err(file_error(path))?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut block = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let count = file.read(&mut block).map_err(file_error(path))?;
        if count == 0 {
            return Ok((hasher.finish(), total));
        }
        hasher.update(&block[..count]);
        total += count as u64;
    }
}

fn count_entries(tar: &Path) -> Result<u64> {
    let file = File::open(tar).map_err(file_error(tar))?;
    let mut archive = tar::Archive::new(file);
    Ok(archive.entries_with_seek().map_err(file_error(tar))?.count() as u64)
}

/// An OCI archive of one layer, named `bench`.
fn write_archive(archive: &Path, blob: &Path, media_type: &str, diff_id: &Digest) -> Result<()> {
    let (digest, size) = digest_of(blob)?;
    let layer = Descriptor::new(media_type, digest, size);
    let config = serde_json::json!({ "os": "linux", "architecture": "amd64", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [diff_id] } });
    let config = config.to_string().into_bytes();
    let describe = |media_type: &str, bytes: &[u8]| {
        Descriptor::new(
            media_type,
            Digest::of(Algorithm::Sha256, bytes),
            bytes.len() as u64,
        )
    };
    let config_descriptor = describe(IMAGE_CONFIG, &config);
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config_descriptor, "layers": [layer] });
    let manifest = manifest.to_string().into_bytes();
    let mut root = describe(MANIFEST, &manifest);
    root.annotations.insert(
        "org.opencontainers.image.ref.name".into(),
        "docker.io/library/bench:latest".into(),
    );
    let manifest_digest = root.digest.clone();
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [root] });

    let failed = file_error(archive);
    let write = || -> io::Result<()> {
        let mut tar = tar::Builder::new(BufWriter::new(File::create(archive.with_extension("partial"))?));
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes)
        };
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add("index.json", index.to_string().as_bytes())?;
        add(
            &format!("blobs/sha256/{}", config_descriptor.digest.hex()),
            &config,
        )?;
        add(&format!("blobs/sha256/{}", manifest_digest.hex()), &manifest)?;
        tar.append_path_with_name(blob, format!("blobs/sha256/{}", layer.digest.hex()))?;
        tar.into_inner()?.flush()?;
        fs::rename(archive.with_extension("partial"), archive)
    };
    write().map_err(failed)
}

/// An image of [`SMALL_LAYERS`] layers, each one small file.
pub(crate) fn many_layers(folder: &Path) -> Result<PathBuf> {
    let layout = folder.join("many-layers");
    drop(fs::remove_dir_all(&layout));
    let mut builder = ImageBuilder::new();
    for number in 0..SMALL_LAYERS {
        let added = builder.layer(&format!("file {number}"), Compression::Gzip, |layer| {
            let (name, content) = (format!("file-{number}"), format!("content of {number}\n"));
            layer.file(name.as_bytes(), &Meta::new(0o644), content.as_bytes());
            Ok(())
        });
        added.map_err(file_error(&layout))?;
    }
    builder
        .write(&layout, "many", Shape::Flat)
        .map_err(file_error(&layout))?;
    Ok(layout)
}
