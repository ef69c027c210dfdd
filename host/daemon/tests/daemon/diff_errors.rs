//! What is said of layers and mounts that are wrong, and of disks that are full.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;
use tonic::{Code, Request};
use transom_api::diff::ApplyRequest;
use transom_api::diff::diff_client::DiffClient;
use transom_api::types::Mount;
use transom_tests::needs::require_root;

use crate::blobs;
use crate::layers::{
    Layer, TAR, TAR_GZIP, apply, ask, bind, descriptor, folder, gzip, mount, mounts_below, overlay, request,
};
use crate::rig::{Rig, refused, sha256};

#[tokio::test]
async fn errors_are_those_that_clients_know() {
    if !require_root() {
        return;
    }
    let (rig, target) = (Rig::start().await, tempdir().expect("a folder"));
    let mounts = [bind(target.path())];
    let blob = Layer::new().file("f", b"x").end();
    let (code, text) = refused(apply(&rig, "application/foo", &blob, &mounts).await);
    assert_eq!(
        (code, text.as_str()),
        (
            Code::Unknown,
            "failed to get stream processor for application/foo: no processor for media-type"
        )
    );
    let (code, text) = refused(ask(&rig, request(TAR, b"not here", &mounts)).await);
    let expected = format!(
        "failed to get reader from content store: content digest {}: not found",
        sha256(b"not here")
    );
    assert_eq!((code, text), (Code::NotFound, expected));
    let cut = &blob[..512];
    let (code, text) = refused(apply(&rig, TAR, cut, &mounts).await);
    assert_eq!(code, Code::Unknown);
    assert!(
        text.starts_with("mount callback failed on ") && text.contains("unexpected EOF"),
        "{text}"
    );
    let (code, text) = refused(apply(&rig, TAR, &[7; 4096], &mounts).await);
    assert_eq!(code, Code::Unknown);
    assert!(text.contains("corrupt tar"), "{text}");
    let squeezed = gzip(&blob);
    let (code, text) = refused(apply(&rig, TAR_GZIP, &squeezed[..squeezed.len() - 9], &mounts).await);
    assert_eq!(code, Code::Unknown);
    assert!(text.contains("corrupt gzip"), "{text}");
    let encrypted = format!("{TAR_GZIP}+encrypted");
    let (code, text) = refused(apply(&rig, &encrypted, &[9; 2000], &mounts).await);
    assert_eq!(code, Code::Unknown);
    assert!(text.contains("configure a processor that accepts it"), "{text}");
}

#[tokio::test]
async fn requests_that_lack_something_are_refused() {
    let rig = Rig::start().await;
    let mut client = DiffClient::new(rig.channel.clone());
    let bare = client.apply(Request::new(ApplyRequest::default())).await;
    assert_eq!(refused(bare).0, Code::FailedPrecondition, "no namespace");
    let (code, text) = refused(ask(&rig, ApplyRequest::default()).await);
    assert_eq!(
        (code, text.as_str()),
        (Code::InvalidArgument, "diff is required: invalid argument")
    );
    let mut wrong = request(TAR, b"x", &[]);
    wrong.diff = Some(descriptor(TAR, b"x")).map(|mut diff| {
        diff.digest = "sha256:zz".to_owned();
        diff
    });
    assert_eq!(refused(ask(&rig, wrong).await).0, Code::InvalidArgument);
    let (code, text) = refused(apply(&rig, TAR, &Layer::new().end(), &[]).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("no mount"), "{text}");
}

#[tokio::test]
async fn mounts_that_cannot_take_a_layer_are_refused() {
    if !require_root() {
        return;
    }
    let (rig, at) = (Rig::start().await, tempdir().expect("a folder"));
    let (upper, lower) = (folder(at.path(), "u"), folder(at.path(), "l"));
    let blob = Layer::new().file("f", b"x").end();
    let read_only = mount("bind", &upper, &["ro".to_owned(), "rbind".to_owned()]);
    for mounts in [
        vec![read_only.clone()],
        vec![overlay(None, &[&lower, &upper])],
        vec![bind(&lower), read_only],
    ] {
        let (code, text) = refused(apply(&rig, TAR, &blob, &mounts).await);
        assert_eq!(code, Code::FailedPrecondition, "{text}");
        assert!(text.contains("active snapshot"), "{text}");
    }
    let below = Mount {
        target: "sub".to_owned(),
        ..bind(&upper)
    };
    let internal = mount(
        "bind",
        &upper,
        &["rbind".to_owned(), "X-containerd.mkdir.path=x".to_owned()],
    );
    for wrong in [below, internal] {
        let (code, text) = refused(apply(&rig, TAR, &blob, &[wrong]).await);
        assert_eq!(code, Code::InvalidArgument, "{text}");
    }
    let (code, text) = refused(apply(&rig, TAR, &blob, &[bind(&at.path().join("none"))]).await);
    assert_eq!(code, Code::NotFound, "{text}");
    assert!(fs::read_dir(&upper).expect("a folder").next().is_none());
    assert_eq!(mounts_below(rig.folder.path()), <[&Path; 0]>::default());
}

/// A target that leads out of the place by a link must not be followed there.
#[tokio::test]
async fn a_target_does_not_lead_out() {
    if !require_root() {
        return;
    }
    let (rig, at) = (Rig::start().await, tempdir().expect("a folder"));
    let (top, sub, outside) = (
        folder(at.path(), "t"),
        folder(at.path(), "s"),
        folder(at.path(), "outside"),
    );
    std::os::unix::fs::symlink(&outside, top.join("link")).expect("a link");
    let below = Mount {
        target: "link".to_owned(),
        ..bind(&sub)
    };
    let blob = Layer::new().file("f", b"x").end();
    let applied = apply(&rig, TAR, &blob, &[bind(&top), below]).await;
    refused(applied);
    assert!(fs::read_dir(&outside).expect("a folder").next().is_none());
    assert_eq!(mounts_below(at.path()), <[&Path; 0]>::default());
    assert_eq!(mounts_below(rig.folder.path()), <[&Path; 0]>::default());
}

#[tokio::test]
async fn a_damaged_blob_is_data_loss() {
    if !require_root() {
        return;
    }
    let (rig, target) = (Rig::start().await, tempdir().expect("a folder"));
    let blob = Layer::new().file("f", b"content").end();
    let digest = blobs::put(&rig, &blob).await;
    let name = digest.replace("sha256:", "root/io.containerd.content.v1.content/blobs/sha256/");
    let path = rig.folder.path().join(name);
    let mut damaged = blob.clone();
    damaged[513] ^= 1;
    fs::remove_file(&path).expect("a blob");
    fs::write(&path, damaged).expect("a file");
    let (code, text) = refused(ask(&rig, request(TAR, &blob, &[bind(target.path())])).await);
    assert_eq!(code, Code::DataLoss, "{text}");
    assert!(
        text.contains("damaged") && text.ends_with(": data loss"),
        "{text}"
    );
}

#[tokio::test]
async fn limits_are_kept() {
    if !require_root() {
        return;
    }
    let rig = Rig::with(|config| {
        config.diff.output.bytes = 1 << 20;
        config.diff.max_entries = 3;
    })
    .await;
    let target = tempdir().expect("a folder");
    let mounts = [bind(target.path())];
    let large = Layer::new().file("f", &vec![0; 2 << 20]).end();
    let (code, text) = refused(apply(&rig, TAR_GZIP, &gzip(&large), &mounts).await);
    assert_eq!(code, Code::ResourceExhausted, "{text}");
    assert!(text.contains("max_layer_size"), "{text}");
    let many = (0..4).fold(Layer::new(), |layer, number| layer.file(&number.to_string(), b""));
    let (code, text) = refused(apply(&rig, TAR, &many.end(), &mounts).await);
    assert_eq!(code, Code::ResourceExhausted, "{text}");
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_stays_mounted() {
    if !require_root() {
        return;
    }
    let (rig, at) = (Rig::start().await, tempdir().expect("a folder"));
    let disk = folder(at.path(), "disk");
    let mut small = Command::new("mount");
    small.args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&disk);
    assert!(small.status().expect("mount runs").success());
    let (upper, lower) = (folder(&disk, "u"), folder(at.path(), "l"));
    let blob = Layer::new().file("a", b"x").file("f", &vec![3; 4 << 20]).end();
    for mounts in [
        vec![bind(&upper)],
        vec![overlay(Some(&upper), &[&lower])],
        vec![bind(&lower), overlay(Some(&upper), &[&lower])],
    ] {
        let (code, text) = refused(apply(&rig, TAR_GZIP, &gzip(&blob), &mounts).await);
        assert_eq!(code, Code::ResourceExhausted, "{text}");
        assert!(text.contains("no space left"), "{text}");
        // What is there already is the caller's to remove.
        assert!(upper.join("a").exists());
        fs::remove_file(upper.join("f")).expect("the half file");
    }
    assert_eq!(mounts_below(rig.folder.path()), <[&Path; 0]>::default());
    assert!(
        Command::new("umount")
            .arg(&disk)
            .status()
            .expect("umount runs")
            .success()
    );
}
