//! Unpacking with the real parts: overlayfs and native, the built-in differ, mounts. Needs root.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use transom_diff::{Differs, Settings, Walking};
use transom_meta::snapshots::Snapshotter;
use transom_meta::{Class, Metadata};
use transom_oci::{Digest, Platform, chain_ids};
use transom_snapshot::{Local, NativeOptions, OverlayOptions, Place};
use transom_sys::mount::TempMounts;
use transom_transfer::unpack::{DifferApplier, Unpacker};
use transom_transfer::{ImageStore, Transfers, UnpackTo};

use crate::stage::{Sample, Stage, any_name, archive, caller, header, refused};

struct Real {
    stage: Stage,
    temp: TempMounts,
    folder: tempfile::TempDir,
}

/// A stage with both snapshotters; none without root, with the reason written down.
async fn real() -> Option<Real> {
    if !transom_tests::require_root() {
        return None;
    }
    let mut stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let metadata = &stage.metadata;
    let place = |name: &str| Place::new(Arc::clone(metadata.kv()), folder.path().join(name));
    let overlayfs = Local::overlayfs(place("overlayfs"), OverlayOptions::default())
        .await
        .unwrap();
    let native = Local::native(place("native"), NativeOptions::default())
        .await
        .unwrap();
    let both: [Arc<dyn Snapshotter>; 2] = [Arc::new(overlayfs), Arc::new(native)];
    for snapshotter in both {
        metadata.add_snapshotter(snapshotter).await.unwrap();
    }
    let mounts = |name: &str| TempMounts::new(&folder.path().join(name)).unwrap();
    let temp = mounts("looked-at");
    let walking = Walking::new(Settings::default(), mounts("applied-to"));
    let differ = DifferApplier::new(Differs::new(vec![Arc::new(walking)]), metadata.clone());
    let differ = Arc::new(differ);
    let unpacker = Unpacker::new(Arc::new(metadata.clone()), differ.clone(), differ, 2);
    stage.transfers = Transfers::new(metadata.clone(), Some(unpacker));
    Some(Real { stage, temp, folder })
}

fn into(snapshotter: &str) -> ImageStore {
    ImageStore {
        unpacks: vec![UnpackTo {
            platform: Platform::host(),
            snapshotter: snapshotter.to_owned(),
        }],
        ..any_name()
    }
}

/// An image whose upper layers take away what lower ones have: a file, a folder with all that is in it, what a folder held.
fn sample() -> Sample {
    let layers: [&[&str]; 4] = [
        &["kept", "gone", "folder/", "folder/old", "opaque/", "opaque/old"],
        &[
            ".wh.gone",
            ".wh.folder",
            "opaque/",
            "opaque/.wh..wh..opq",
            "opaque/new",
        ],
        &["gone"],
        &[".wh.gone", "last"],
    ];
    let tars: Vec<Vec<u8>> = layers
        .iter()
        .enumerate()
        .map(|(at, names)| layer(at, names))
        .collect();
    Sample::of_tars(&Platform::host().to_string(), &tars)
}

/// A layer with entries of these names; files have the layer's number in them.
fn layer(number: usize, names: &[&str]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for name in names {
        let text = number.to_string();
        let data = if name.ends_with('/') { "" } else { &text };
        let mut header = header(name, data.len() as u64);
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
        }
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn tree(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if path.is_dir() {
                folders.push(path);
                found.insert(name);
            } else {
                found.insert(format!("{name}={}", std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

async fn rootfs(metadata: &Metadata, snapshotter: &str, temp: &TempMounts, name: &str) -> BTreeSet<String> {
    let snapshots = metadata.snapshots(snapshotter).unwrap();
    let mounts = snapshots
        .view(&caller(), "view", name, Default::default())
        .await
        .unwrap();
    let mounted = temp.mount(&mounts).unwrap();
    let found = tree(mounted.path());
    mounted.unmount().unwrap();
    snapshots.remove(&caller(), "view").await.unwrap();
    found
}

fn top(sample: &Sample) -> String {
    chain_ids(&sample.diff_ids())
        .last()
        .map(Digest::to_string)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_unpacked_into_both_snapshotters() {
    let Some(Real { stage, temp, folder }) = real().await else {
        return;
    };
    let sample = sample();
    let wanted = ["kept=0", "opaque", "opaque/new=1", "last=3"].map(str::to_owned);
    for snapshotter in ["overlayfs", "native"] {
        stage
            .import(&archive(&sample, "latest"), &into(snapshotter))
            .await
            .unwrap();
        let found = rootfs(&stage.metadata, snapshotter, &temp, &top(&sample)).await;
        assert_eq!(found, wanted.clone().into(), "{snapshotter}");
    }
    // The image keeps its snapshots, and without it they go.
    stage.collected().await;
    for snapshotter in ["overlayfs", "native"] {
        let snapshots = stage.metadata.snapshots(snapshotter).unwrap();
        for name in chain_ids(&sample.diff_ids()) {
            snapshots.stat(&caller(), name.as_str()).await.unwrap();
        }
    }
    let images = stage.metadata.images(&caller(), &[]).await.unwrap();
    stage
        .metadata
        .delete_image(&caller(), &images[0].name, None)
        .await
        .unwrap();
    assert_eq!(stage.collected().await, BTreeSet::new());
    for snapshotter in ["overlayfs", "native"] {
        let snapshots = stage.metadata.snapshots(snapshotter).unwrap();
        let gone = snapshots.stat(&caller(), &top(&sample)).await.unwrap_err();
        assert_eq!(gone.class(), Class::NotFound);
        let left = std::fs::read_dir(folder.path().join(snapshotter).join("snapshots")).unwrap();
        assert_eq!(left.count(), 0, "{snapshotter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_an_image_with_a_bad_layer() {
    let Some(Real { stage, folder, .. }) = real().await else {
        return;
    };
    let mut tars: Vec<Vec<u8>> = (0..3).map(|at| layer(at, &["file"])).collect();
    tars[1] = b"no tar at all".repeat(100);
    let sample = Sample::of_tars(&Platform::host().to_string(), &tars);
    for snapshotter in ["overlayfs", "native"] {
        let (_, text) = refused(
            stage
                .import(&archive(&sample, "latest"), &into(snapshotter))
                .await,
        );
        assert!(text.starts_with("failed to extract layer"), "{text}");
        assert_eq!(stage.collected().await, BTreeSet::new());
        let left = std::fs::read_dir(folder.path().join(snapshotter).join("snapshots")).unwrap();
        assert_eq!(left.count(), 0, "{snapshotter}");
    }
}
