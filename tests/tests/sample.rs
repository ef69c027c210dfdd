//! The sample images are what they say: GNU tar, which knows nothing of them, unpacks to the expected tree.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use transom_oci::{Algorithm, Digest, ImageConfig, Index, Manifest};
use transom_tests::sample::{self, Compression, Options, Sample, SampleLayer};
use transom_tests::tree::{Ignore, diff, report, walk};

fn sample(folder: &Path) -> Sample {
    sample::small(&Options::here(folder), &folder.join("image")).unwrap()
}

/// Applies a layer with GNU tar; whiteouts and replaced directories are done by hand, before.
fn apply(layer: &SampleLayer, root: &Path) {
    let mut plain = tar::Archive::new(Cursor::new(&layer.tar));
    for entry in plain.entries().unwrap() {
        let entry = entry.unwrap();
        let path = root.join(entry.path().unwrap());
        let (parent, name) = (path.parent().unwrap(), path.file_name().unwrap().as_bytes());
        if name == b".wh..wh..opq" {
            if parent.is_dir() {
                for child in fs::read_dir(parent).unwrap() {
                    remove(&child.unwrap().path());
                }
            }
        } else if let Some(hidden) = name.strip_prefix(b".wh.") {
            remove(&parent.join(std::ffi::OsStr::from_bytes(hidden)));
        } else if path
            .symlink_metadata()
            .is_ok_and(|old| old.is_dir() != entry.header().entry_type().is_dir())
        {
            remove(&path);
        }
    }
    let mut tar = Command::new("tar")
        .args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*"])
        .args(["--delay-directory-restore", "--exclude=.wh.*", "-C"])
        .arg(root)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(&layer.tar).unwrap();
    assert!(tar.wait().unwrap().success(), "tar fails on {:?}", layer.comment);
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

#[test]
fn gnu_tar_unpacks_the_expected_tree() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample(folder.path());
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    for layer in &sample.layers {
        apply(layer, &root);
    }
    let ignore = Ignore {
        owner: !rustix::process::geteuid().is_root(),
        ..Ignore::default()
    };
    let differences = diff(&sample.tree, &walk(&root).unwrap(), &ignore);
    assert!(differences.is_empty(), "{}", report(&differences, 20));
}

fn read_json<T: serde::de::DeserializeOwned>(path: PathBuf) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn blob(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

#[test]
fn the_layout_leads_from_the_tag_to_every_layer() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample(folder.path());
    let layout = &sample.layout;
    let index: Index = read_json(layout.join("index.json"));
    assert_eq!(index.manifests[0].digest, sample.manifest.digest);
    let manifest: Manifest = read_json(blob(layout, &sample.manifest.digest));
    let config: ImageConfig = read_json(blob(layout, &manifest.config.digest));
    assert_eq!(manifest.layers.len(), sample.layers.len());
    assert_eq!(
        config.history.iter().filter(|step| !step.empty_layer).count(),
        manifest.layers.len()
    );
    for ((descriptor, diff_id), layer) in manifest
        .layers
        .iter()
        .zip(&config.rootfs.diff_ids)
        .zip(&sample.layers)
    {
        let bytes = fs::read(blob(layout, &descriptor.digest)).unwrap();
        assert_eq!(Digest::of(Algorithm::Sha256, &bytes), descriptor.digest);
        assert_eq!(bytes.len() as u64, descriptor.size);
        assert_eq!(Digest::of(Algorithm::Sha256, &layer.tar), *diff_id);
    }
}

#[test]
fn every_compression_is_undone_by_its_reader() {
    let text = b"some text, again and again; ".repeat(10_000);
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::GzipMembers,
        Compression::Zstd,
        Compression::Xz,
    ] {
        let packed = compression.compress(&text).unwrap();
        let mut reader: Box<dyn Read> = match compression {
            Compression::None => Box::new(&packed[..]),
            Compression::Gzip | Compression::GzipMembers => {
                Box::new(flate2::read::MultiGzDecoder::new(&packed[..]))
            }
            Compression::Zstd => Box::new(zstd::Decoder::new(&packed[..]).unwrap()),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new(&packed[..], false)),
        };
        let mut unpacked = Vec::new();
        reader.read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == text, "{compression:?}");
        assert_eq!(
            compression == Compression::None,
            packed.len() == text.len(),
            "{compression:?}"
        );
    }
}

#[test]
fn both_archives_hold_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample(folder.path());
    let (oci, docker) = (folder.path().join("oci.tar"), folder.path().join("docker.tar"));
    sample.write_oci_archive(&oci).unwrap();
    sample.write_docker_archive(&docker).unwrap();
    let unpack = |file: &Path, name: &str| {
        let target = folder.path().join(name);
        tar::Archive::new(File::open(file).unwrap())
            .unpack(&target)
            .unwrap();
        target
    };
    let same = diff(
        &walk(&sample.layout).unwrap(),
        &walk(&unpack(&oci, "oci")).unwrap(),
        &Ignore {
            owner: true,
            times: true,
            ..Ignore::default()
        },
    );
    // The archive has only files, so the folders' modes are the umask's.
    assert!(same.is_empty(), "{}", report(&same, 5));

    let docker = unpack(&docker, "docker");
    let manifest: serde_json::Value = read_json(docker.join("manifest.json"));
    let config: ImageConfig = read_json(docker.join(manifest[0]["Config"].as_str().unwrap()));
    assert_eq!(manifest[0]["RepoTags"][0], serde_json::json!(sample.reference()));
    let layers = manifest[0]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), config.rootfs.diff_ids.len());
    for (layer, diff_id) in layers.iter().zip(&config.rootfs.diff_ids) {
        let tar = fs::read(docker.join(layer.as_str().unwrap())).unwrap();
        assert_eq!(Digest::of(Algorithm::Sha256, &tar), *diff_id);
    }
}

#[test]
fn the_same_options_make_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| sample::small(&Options::plain(), &folder.path().join(name)).unwrap();
    let (a, b) = (make("a"), make("b"));
    assert_eq!(a.manifest.digest, b.manifest.digest);
    assert_eq!(a.tree, b.tree);
}
