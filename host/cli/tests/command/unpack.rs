//! `transom unpack` of sound images in every form.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use transom_oci::{Algorithm, Digest, Platform};
use transom_tests::sample::{Compression, ImageBuilder, Meta, Sample, Shape};

use crate::image::{small, xz_processor};
use crate::support::{NOT_FOUND, USAGE, assert_tree, is_root, select, unpack, unpack_command};

/// An image for two platforms, which nothing but what is built in must read.
fn nested(folder: &Path) -> Sample {
    let mut image = ImageBuilder::new();
    let add = |image: &mut ImageBuilder, compression, name: &[u8]| {
        image.layer("files", compression, |layer| {
            layer.file(name, &Meta::new(0o4755), b"some content");
            layer.file(b"same", &Meta::new(0o600), name);
            Ok(())
        })
    };
    add(&mut image, Compression::Gzip, b"in/gzip").unwrap();
    add(&mut image, Compression::Zstd, b"in/zstd").unwrap();
    image.write(&folder.join("nested"), "two", Shape::Nested).unwrap()
}

fn gzipped(file: &Path) -> PathBuf {
    let packed = file.with_extension("gz");
    fs::write(
        &packed,
        Compression::Gzip.compress(&fs::read(file).unwrap()).unwrap(),
    )
    .unwrap();
    packed
}

#[test]
fn every_form_of_an_image_gives_the_same_tree() {
    let folder = tempfile::tempdir().unwrap();
    let Some(xz) = xz_processor() else { return };
    let xz = xz.each_ref().map(String::as_str);
    let sample = small(folder.path());
    let (oci, docker) = (folder.path().join("oci.tar"), folder.path().join("docker.tar"));
    sample.write_oci_archive(&oci).unwrap();
    sample.write_docker_archive(&docker).unwrap();
    let forms = [
        sample.layout.clone(),
        oci.clone(),
        docker.clone(),
        gzipped(&docker),
        gzipped(&oci),
    ];
    for (number, form) in forms.iter().enumerate() {
        let target = folder.path().join(format!("root-{number}"));
        let text = unpack(form, &target, &xz).ok();
        assert_tree(&sample.tree, &target);
        assert_eq!(text.matches("verified").count(), sample.layers.len(), "{text}");
    }
    for (number, form) in [&oci, &forms[3]].into_iter().enumerate() {
        let target = folder.path().join(format!("from-stdin-{number}"));
        let mut command = unpack_command("-", &target, &xz);
        let done = command.stdin(File::open(form).unwrap()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_tree(&sample.tree, &target);
    }
}

#[test]
fn a_pipe_that_gives_little_at_a_time_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let sample = nested(folder.path());
    let archive = folder.path().join("oci.tar");
    sample.write_oci_archive(&archive).unwrap();
    let target = folder.path().join("root");
    let mut command = unpack_command("-:two", &target, &[]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for piece in fs::read(&archive).unwrap().chunks(997) {
        stdin.write_all(piece).unwrap();
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_tree(&sample.tree, &target);
}

#[test]
fn tags_digests_and_platforms_choose() {
    let folder = tempfile::tempdir().unwrap();
    let sample = nested(folder.path());
    let layout = &sample.layout;
    let host = Platform::host().to_string();
    let mut number = 0;
    let mut target = || {
        number += 1;
        folder.path().join(format!("root-{number}"))
    };
    let by_digest = format!("@{}", sample.manifest.digest);
    for selector in ["", ":two", by_digest.as_str()] {
        let root = target();
        unpack(select(layout, selector), &root, &[]).ok();
        assert_tree(&sample.tree, &root);
    }
    let root = target();
    unpack(layout, &root, &["--platform", &host]).ok();
    assert_tree(&sample.tree, &root);

    let root = target();
    let other = if host.ends_with("s390x") {
        "linux/amd64"
    } else {
        "linux/s390x"
    };
    unpack(layout, &root, &["--platform", other]).ok();
    assert_eq!(fs::read_to_string(root.join("platform")).unwrap(), other);

    let none = target();
    unpack(layout, &none, &["--platform", "linux/riscv64"]).fails(NOT_FOUND, &["linux/riscv64", other]);
    unpack(select(layout, ":three"), &none, &[]).fails(NOT_FOUND, &["three", "two"]);
    let absent = format!("@{}", Digest::of(Algorithm::Sha256, b"absent"));
    unpack(select(layout, &absent), &none, &[]).fails(NOT_FOUND, &["has no image"]);
    unpack(select(layout, "@sha256:12"), &none, &[]).fails(USAGE, &["sha256"]);
    unpack(folder.path().join("nothing"), &none, &[]).fails(NOT_FOUND, &["nothing"]);
    unpack("docker-daemon:alpine", &none, &[]).fails(USAGE, &["docker-daemon"]);
    assert!(!none.exists());
}

#[test]
fn the_json_document_has_all_that_the_lines_have() {
    let folder = tempfile::tempdir().unwrap();
    let Some(xz) = xz_processor() else { return };
    let sample = small(folder.path());
    let target = folder.path().join("root");
    let document = unpack(&sample.layout, &target, &["--json", &xz[0], &xz[1]]).json();
    assert_eq!(document["manifest"]["digest"], sample.manifest.digest.to_string());
    assert_eq!(document["platform"]["os"], "linux");
    assert_eq!(document["target"], target.display().to_string());
    assert!(document["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    let layers = document["layers"].as_array().unwrap();
    assert_eq!(layers.len(), sample.layers.len());
    let mut chain: Option<Digest> = None;
    for (number, (layer, want)) in layers.iter().zip(&sample.layers).enumerate() {
        // The image specification's rule, computed anew: the chain below, a space, the diffID.
        chain = Some(match &chain {
            None => want.diff_id.clone(),
            Some(below) => Digest::of(Algorithm::Sha256, format!("{below} {}", want.diff_id).as_bytes()),
        });
        assert_eq!(layer["index"], number);
        assert_eq!(layer["digest"], want.descriptor.digest.to_string());
        assert_eq!(layer["mediaType"], want.descriptor.media_type);
        assert_eq!(layer["size"], want.descriptor.size);
        assert_eq!(layer["diffID"], want.diff_id.to_string());
        assert_eq!(layer["chainID"], chain.as_ref().unwrap().to_string());
        assert_eq!(layer["uncompressedSize"], want.tar.len());
        assert!(layer["entries"].as_u64().unwrap() > 0);
        let stages = layer["stages"].as_array().unwrap();
        assert_eq!(stages.len(), 1);
        assert_eq!(stages[0]["bytesIn"], want.descriptor.size);
        assert_eq!(stages[0]["bytesOut"], want.tar.len());
        assert_eq!(stages[0]["inputMediaType"], want.descriptor.media_type);
    }
    assert_eq!(layers[2]["stages"][0]["name"], "xz");
    assert_eq!(layers[2]["stages"][0]["kind"], "exec");
    assert_eq!(layers[0]["stages"][0]["detail"], "gzip");
    assert_eq!(layers[1]["stages"][0]["detail"], "zstd");
    assert_eq!(document["chainID"], chain.unwrap().to_string());
    let failed = unpack(&sample.layout, &target, &["--json"]);
    assert_eq!(failed.code, Some(USAGE));
    let error: serde_json::Value = serde_json::from_str(&failed.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "usage");
    assert!(error["error"]["message"].as_str().unwrap().contains("not empty"));
}

#[test]
fn a_terminal_is_not_needed_and_bars_can_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let sample = nested(folder.path());
    let quiet = unpack(&sample.layout, &folder.path().join("quiet"), &["--owner", "mine"]);
    assert_eq!(quiet.stderr, "");
    quiet.ok();
    unpack(&sample.layout, &folder.path().join("bar"), &["--progress", "bar"]).ok();
    unpack(
        &sample.layout,
        &folder.path().join("none"),
        &["--progress", "none"],
    )
    .ok();
}

#[test]
fn a_new_folder_is_a_root_folder_and_an_old_one_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let sample = nested(folder.path());
    let (new, old) = (folder.path().join("new"), folder.path().join("old"));
    fs::create_dir(&old).unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o711)).unwrap();
    for (target, mode) in [(&new, 0o755), (&old, 0o711)] {
        unpack(&sample.layout, target, &[]).ok();
        assert_eq!(fs::metadata(target).unwrap().mode() & 0o7777, mode);
        assert_tree(&sample.tree, target);
    }
}

#[test]
fn owner_mine_gives_everything_to_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = ImageBuilder::new();
    let fill = |layer: &mut transom_tests::sample::LayerWriter<'_>| {
        layer.file(b"file", &Meta::new(0o644).owned_by(1234, 4321), b"x");
        Ok(())
    };
    image.layer("owned", Compression::Gzip, fill).unwrap();
    let sample = image
        .write(&folder.path().join("image"), "a", Shape::Flat)
        .unwrap();
    let owner = |target: &str, owner: &str| {
        let target = folder.path().join(target);
        unpack(&sample.layout, &target, &["--owner", owner]).ok();
        let metadata = fs::metadata(target.join("file")).unwrap();
        (metadata.uid(), metadata.gid())
    };
    let me = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    assert_eq!(owner("mine", "mine"), me);
    if is_root() {
        assert_eq!(owner("keep", "keep"), (1234, 4321));
    }
}
