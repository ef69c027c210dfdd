//! Layers of very many entries and of many bytes, in little memory.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use transom_oci::media_type::LAYER_TAR_ZSTD;
use transom_oci::{Algorithm, Digest, Hasher};

use crate::image::{RawImage, RawLayer};
use crate::support::{finish, unpack_command};

/// What the command may take for a layer of any size (bytes).
const MEMORY_MAX: u64 = 96 << 20;

/// The most memory that a process has held, in bytes, watched until it ends.
fn peak_memory(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// A layer that is made in pieces: each is compressed by itself, for the whole may be large.
struct Pieces {
    blob: Vec<u8>,
    hasher: Hasher,
    piece: Vec<u8>,
}

impl Pieces {
    fn new() -> Pieces {
        Pieces {
            blob: Vec::new(),
            hasher: Hasher::new(Algorithm::Sha256),
            piece: Vec::new(),
        }
    }

    fn entry(&mut self, header: &tar::Header) {
        self.piece.extend_from_slice(header.as_bytes());
        if self.piece.len() >= 4 << 20 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.piece);
        self.blob.extend(zstd::encode_all(&self.piece[..], 1).unwrap());
        self.piece.clear();
    }

    fn end(mut self) -> RawLayer {
        self.piece.extend_from_slice(&[0; 1024]);
        self.flush();
        RawLayer {
            media_type: LAYER_TAR_ZSTD.to_owned(),
            blob: self.blob,
            diff_id: self.hasher.finish(),
        }
    }
}

fn header(name: &str, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o755);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    header
}

/// Unpacks an image of one layer, within the memory allowed, and gives what it printed.
fn unpack_in_little_memory(folder: &Path, layer: RawLayer) -> serde_json::Value {
    let image = RawImage::write(&folder.join("image"), &[layer]);
    let mut command = unpack_command(&image.layout, &folder.join("root"), &["--json"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let peak = peak_memory(&mut child);
    let document = finish(child).json();
    println!("peak memory {} KiB, {} s", peak >> 10, document["seconds"]);
    assert!(peak > 0 && peak < MEMORY_MAX, "{} KiB", peak >> 10);
    document
}

#[test]
fn a_million_entries_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut layer = Pieces::new();
    let (folders, files, links) = (1000, 99, 900);
    for above in 0..folders {
        layer.entry(&header(&format!("{above}/"), tar::EntryType::Directory));
        for file in 0..files {
            layer.entry(&header(&format!("{above}/{file}"), tar::EntryType::Regular));
        }
        for link in 0..links {
            let mut header = header(&format!("{above}/link-{link}"), tar::EntryType::Link);
            header.set_link_name(format!("{above}/{}", link % files)).unwrap();
            header.set_cksum();
            layer.entry(&header);
        }
    }
    let document = unpack_in_little_memory(folder.path(), layer.end());
    let layer = &document["layers"][0];
    assert_eq!(layer["entries"], 1_000_000);
    assert_eq!(layer["hardLinks"], folders * links);
    let root = folder.path().join("root");
    assert_eq!(fs::read_dir(&root).unwrap().count(), folders);
    assert_eq!(fs::read_dir(root.join("999")).unwrap().count(), files + links);
}

#[test]
fn a_large_file_takes_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let size: usize = 512 << 20;
    let mut large = header("large", tar::EntryType::Regular);
    large.set_size(size as u64);
    large.set_cksum();
    let mut layer = Pieces::new();
    layer.entry(&large);
    let mut expected = Hasher::new(Algorithm::Sha256);
    let block: Vec<u8> = (0..4 << 20_u32).map(|n: u32| (n / 509) as u8).collect();
    for _ in 0..size / block.len() {
        expected.update(&block);
        layer.piece.extend_from_slice(&block);
        layer.flush();
    }
    let document = unpack_in_little_memory(folder.path(), layer.end());
    assert_eq!(document["layers"][0]["files"], 1);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut file =
        std::io::BufReader::with_capacity(1 << 20, fs::File::open(folder.path().join("root/large")).unwrap());
    std::io::copy(&mut file, &mut Feed(&mut hasher)).unwrap();
    let (have, want): (Digest, Digest) = (hasher.finish(), expected.finish());
    assert_eq!(have, want);
}

struct Feed<'a>(&'a mut Hasher);

impl std::io::Write for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
