//! Mounts compared, and what is made of it applied again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};
use tonic::Code;
use transom_api::content::{ListStatusesRequest, WriteAction, WriteContentRequest};
use transom_api::diff::DiffRequest;
use transom_api::types::Mount;
use transom_tests::needs::require_root;
use transom_tests::tree::{Ignore, diff, report, walk};

use crate::blobs::{self, Write, client, info, read};
use crate::layers::{TAR, TAR_GZIP, TAR_ZSTD, apply, ask, bind, compare, folder, mounted, overlay, request};
use crate::rig::{Rig, here, refused, sha256};

/// A snapshot with a parent: the parent's folder, the upper one, and the mounts of both sides.
struct Snapshot {
    at: TempDir,
    left: Vec<Mount>,
    right: Vec<Mount>,
}

impl Snapshot {
    /// With every kind of change in it.
    fn changed() -> Snapshot {
        let at = tempdir().expect("a folder");
        let (lower, lowest, upper) = (
            folder(at.path(), "l1"),
            folder(at.path(), "l2"),
            folder(at.path(), "u"),
        );
        for file in [
            "same",
            "changed",
            "gone",
            "d/kept",
            "d/gone",
            "replaced/f",
            "linked",
        ] {
            fs::create_dir_all(lowest.join(file).parent().expect("a folder")).expect("a folder");
            fs::write(lowest.join(file), file).expect("a file");
        }
        folder(&lower, "upper");
        let right = vec![overlay(Some(&upper), &[&lower, &lowest])];
        mounted(&right, change);
        Snapshot {
            left: vec![overlay(None, &[&lower, &lowest])],
            right,
            at,
        }
    }

    fn request(&self, media_type: &str) -> DiffRequest {
        DiffRequest {
            left: self.left.clone(),
            right: self.right.clone(),
            media_type: media_type.to_owned(),
            ..DiffRequest::default()
        }
    }

    /// The same two sides as trees, so that nobody can tell what is below the right one.
    fn trees(&self) -> DiffRequest {
        let nothing = folder(self.at.path(), "nothing");
        let mut request = self.request(TAR);
        request.left.insert(0, bind(&nothing));
        request.right.insert(0, bind(&nothing));
        request
    }
}

fn change(root: &Path) {
    fs::write(root.join("changed"), "other and longer").expect("a file");
    fs::remove_file(root.join("gone")).expect("a file");
    fs::remove_file(root.join("d/gone")).expect("a file");
    fs::set_permissions(root.join("upper"), fs::Permissions::from_mode(0o711)).expect("a mode");
    fs::remove_dir_all(root.join("replaced")).expect("a folder");
    fs::create_dir(root.join("replaced")).expect("a folder");
    fs::write(root.join("replaced/new"), "new").expect("a file");
    fs::hard_link(root.join("linked"), root.join("link")).expect("a link");
    symlink("nowhere", root.join("symlink")).expect("a link");
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket"));
}

/// Applies the parent's files and the layer, and compares with what is mounted on the right.
async fn applied_again(rig: &Rig, snapshot: &Snapshot, layer: transom_api::types::Descriptor) {
    let copy = folder(snapshot.at.path(), "copy");
    let whole = DiffRequest {
        right: snapshot.left.clone(),
        media_type: TAR.to_owned(),
        ..DiffRequest::default()
    };
    let parent = compare(rig, whole).await.expect("the parent as a layer");
    for diff in [parent, layer] {
        let mut apply = request(TAR, b"", &[bind(&copy)]);
        apply.diff = Some(diff);
        ask(rig, apply).await.expect("it is applied");
    }
    mounted(&snapshot.right, |root| {
        fs::remove_file(root.join("socket")).expect("a layer has no sockets");
        let (mut want, have) = (walk(root).expect("a tree"), walk(&copy).expect("a tree"));
        // Times in a layer are whole seconds.
        want.entries.values_mut().for_each(|entry| entry.mtime_nsec = 0);
        let differences = diff(&want, &have, &Ignore::default());
        assert!(differences.is_empty(), "{}", report(&differences, 20));
    });
    fs::remove_dir_all(copy).expect("a folder");
}

#[tokio::test]
async fn what_changed_is_the_same_again_after_it_is_applied() {
    if !require_root() {
        return;
    }
    let rig = Rig::start().await;
    let mut tars = Vec::new();
    for media_type in [TAR, TAR_GZIP, TAR_ZSTD, ""] {
        let snapshot = Snapshot::changed();
        let layer = compare(&rig, snapshot.request(media_type))
            .await
            .expect("a layer");
        let expected = if media_type.is_empty() {
            TAR_GZIP
        } else {
            media_type
        };
        assert_eq!(layer.media_type, expected);
        let found = info(&rig, &layer.digest).await.expect("a blob");
        assert_eq!(found.size, layer.size);
        let label = found.labels.get("containerd.io/uncompressed").cloned();
        assert_eq!(label.is_some(), media_type != TAR);
        let (_, bytes) = read(&rig, &layer.digest, 0, 0).await.expect("its bytes");
        assert_eq!(sha256(&bytes), layer.digest);
        tars.push(label.unwrap_or_else(|| layer.digest.clone()));
        applied_again(&rig, &snapshot, layer).await;
    }
    assert_eq!(
        crate::layers::mounts_below(rig.folder.path()),
        <[&Path; 0]>::default()
    );
}

#[tokio::test]
async fn the_upper_folder_alone_gives_what_two_trees_give() {
    if !require_root() {
        return;
    }
    let rig = Rig::start().await;
    let snapshot = Snapshot::changed();
    let short = compare(&rig, snapshot.request(TAR)).await.expect("a layer");
    let long = compare(&rig, snapshot.trees()).await.expect("a layer");
    assert_eq!(short.digest, long.digest);
    assert!(short.size > 1024);
}

#[tokio::test]
async fn nothing_is_nothing() {
    if !require_root() {
        return;
    }
    let rig = Rig::start().await;
    let empty = compare(&rig, DiffRequest::default()).await.expect("a layer");
    assert_eq!(empty.media_type, TAR_GZIP);
    let found = info(&rig, &empty.digest).await.expect("a blob");
    assert_eq!(found.labels["containerd.io/uncompressed"], sha256(&[0; 1024]));
}

#[tokio::test]
async fn other_media_types_are_not_written() {
    let rig = Rig::start().await;
    let request = DiffRequest {
        media_type: "application/foo".to_owned(),
        ..DiffRequest::default()
    };
    assert_eq!(
        refused(compare(&rig, request).await),
        (
            Code::Unimplemented,
            "unsupported diff media type: application/foo: not implemented".to_owned()
        )
    );
}

#[tokio::test]
async fn a_blob_that_is_there_gets_the_label_that_it_lacks() {
    if !require_root() {
        return;
    }
    let rig = Rig::start().await;
    let snapshot = Snapshot::changed();
    let first = compare(&rig, snapshot.request(TAR_GZIP)).await.expect("a layer");
    let (_, bytes) = read(&rig, &first.digest, 0, 0).await.expect("its bytes");
    // Another daemon, where the same bytes came from somewhere else.
    let rig = Rig::start().await;
    blobs::put(&rig, &bytes).await;
    assert!(info(&rig, &first.digest).await.expect("a blob").labels.is_empty());
    let mut again = snapshot.request(TAR_GZIP);
    again.labels.insert("a".to_owned(), "b".to_owned());
    assert_eq!(compare(&rig, again).await.expect("a layer"), first);
    let labels = info(&rig, &first.digest).await.expect("a blob").labels;
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["containerd.io/uncompressed"]);
}

#[tokio::test]
async fn labels_times_and_the_reference_are_the_clients() {
    if !require_root() {
        return;
    }
    let rig = Rig::start().await;
    let at = tempdir().expect("a folder");
    let right = folder(at.path(), "r");
    fs::write(right.join("f"), "x").expect("a file");
    // What an earlier writer left under the reference is of no worth.
    let half = WriteContentRequest {
        action: WriteAction::Write.into(),
        r#ref: "mine".to_owned(),
        data: vec![1; 5000].into(),
        ..WriteContentRequest::default()
    };
    let (write, _) = Write::open(&rig, half).await.expect("a stream");
    write.finish().await;
    let mut wanted = DiffRequest {
        right: vec![bind(&right)],
        media_type: TAR.to_owned(),
        r#ref: "mine".to_owned(),
        source_date_epoch: Some(prost_types::Timestamp {
            seconds: 12345,
            nanos: 0,
        }),
        ..DiffRequest::default()
    };
    wanted.labels.insert("a".to_owned(), "b".to_owned());
    let layer = compare(&rig, wanted).await.expect("a layer");
    assert_eq!(info(&rig, &layer.digest).await.expect("a blob").labels["a"], "b");
    let (_, bytes) = read(&rig, &layer.digest, 0, 0).await.expect("its bytes");
    let target = folder(at.path(), "t");
    apply(&rig, TAR, &bytes, &[bind(&target)])
        .await
        .expect("it is applied");
    assert_eq!(fs::metadata(target.join("f")).expect("a file").mtime(), 12345);
}

#[tokio::test]
async fn a_failure_leaves_only_what_was_asked_for() {
    if !require_root() {
        return;
    }
    let rig = Rig::with(|config| config.diff.max_entries = 1).await;
    let at = tempdir().expect("a folder");
    let right = folder(at.path(), "r");
    for name in ["a", "b"] {
        fs::write(right.join(name), "x").expect("a file");
    }
    let statuses = async || {
        let listed = client(&rig)
            .list_statuses(here(ListStatusesRequest::default()))
            .await;
        let statuses = listed.expect("a list").into_inner().statuses;
        statuses
            .into_iter()
            .map(|status| status.r#ref)
            .collect::<Vec<_>>()
    };
    let request = |reference: &str| DiffRequest {
        right: vec![bind(&right)],
        r#ref: reference.to_owned(),
        ..DiffRequest::default()
    };
    let (code, text) = refused(compare(&rig, request("")).await);
    assert_eq!(code, Code::ResourceExhausted, "{text}");
    assert!(text.starts_with("failed to write diff: "), "{text}");
    assert_eq!(statuses().await, <[&str; 0]>::default());
    refused(compare(&rig, request("mine")).await);
    assert_eq!(statuses().await, ["mine"]);
    let missing: PathBuf = at.path().join("none");
    let gone = DiffRequest {
        left: vec![bind(&missing), bind(&missing)],
        ..request("")
    };
    refused(compare(&rig, gone).await);
    assert_eq!(statuses().await, ["mine"]);
}
