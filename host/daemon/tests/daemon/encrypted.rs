//! Encrypted images whose files are unpacked already, from their plain twins: they are not to be had without their keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tonic::{Code, Status};
use transom_api::snapshots as api;
use transom_api::snapshots::snapshots_client::SnapshotsClient;
use transom_api::transfer_types::{ImageStore, Progress, UnpackConfiguration};
use transom_api::types::Mount;
use transom_layer::exec::ExternalProcessor;
use transom_tests::needs::{plugin, require_root};
use transom_tests::sample::{Compression, LAYER_TAR_XZ};

use crate::layers::{Layer, TAR, TAR_GZIP, gzip, mounts_below};
use crate::registries::{forget, moved, named, registry, serve, unpacked};
use crate::rig::{Rig, here, refused, sha256};
use crate::transfer::{leases_of, prefix};
use crate::transfer_client::{image_of, import, types};

const ENCRYPTED: &str = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
const PLAIN: &str = "registry.test/plain:1";
const SEALED: &str = "registry.test/sealed:1";
const IMAGE: &str = "transom.io/image";
const CRI: &str = "containerd.io/snapshot/cri.image-ref";
const REF: &str = "containerd.io/snapshot.ref";
const OVERLAYFS: &str = "overlayfs";

/// A toy cipher: the first line of a layer is its key, and whoever has that in the file `key` may read the rest.
const OPENER: &str = "key=$(cat \"$KEY\") || exit 4; IFS= read -r line; \
                      test \"$line\" = \"$key\" || { echo wrong key >&2; exit 3; }; exec cat";

/// A daemon whose encrypted layers go through a program that is a script.
async fn rig(script: &str, returns: &str) -> Rig {
    Rig::with(|config| {
        let key = key_file(config.root.parent().expect("a folder"));
        config.stream_processors = vec![ExternalProcessor {
            id: "opener".to_owned(),
            accepts: vec![ENCRYPTED.to_owned()],
            returns: returns.to_owned(),
            path: "sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: vec![("KEY".to_owned(), key.to_str().expect("text").to_owned())],
        }];
    })
    .await
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("key")
}

fn give_key(rig: &Rig, key: &str) {
    std::fs::write(key_file(rig.folder.path()), key).expect("a file");
}

/// Two layers; the first is longer than what fits into all pipes, so that a program that reads it is at work until it is stopped.
fn tars() -> [Vec<u8>; 2] {
    // A generator of Lehmer's, for what does not compress.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state * 48271 % 0x7fff_ffff;
        state.to_le_bytes()[1]
    });
    let noise: Vec<u8> = noise.take(8 << 20).collect();
    [
        Layer::new().file("large", &noise).end(),
        Layer::new().file("secret", b"42").end(),
    ]
}

fn diff_ids(tars: &[Vec<u8>]) -> Vec<String> {
    tars.iter().map(|tar| sha256(tar)).collect()
}

fn chain(tars: &[Vec<u8>]) -> [String; 2] {
    let [lower, upper] = [0, 1].map(|layer| sha256(&tars[layer]));
    let top = sha256(format!("{lower} {upper}").as_bytes());
    [lower, top]
}

/// The image as it is for everybody.
fn plain(tars: &[Vec<u8>; 2]) -> Vec<u8> {
    let layers = tars.each_ref().map(|tar| (TAR_GZIP, gzip(tar)));
    image_of(PLAIN, &diff_ids(tars), &layers)
}

/// The same image for those who have the key.
fn sealed(tars: &[Vec<u8>; 2]) -> Vec<u8> {
    let seal = |tar: &Vec<u8>| [b"open sesame\n".as_slice(), &gzip(tar)].concat();
    let layers = tars.each_ref().map(|tar| (ENCRYPTED, seal(tar)));
    image_of(SEALED, &diff_ids(tars), &layers)
}

/// Imports an image, and unpacks it for this machine if that is asked for.
async fn bring(rig: &Rig, archive: Vec<u8>, unpacked: bool) -> Result<Vec<Progress>, Status> {
    let unpack = UnpackConfiguration {
        platform: None,
        snapshotter: OVERLAYFS.to_owned(),
    };
    let into = ImageStore {
        extra_references: prefix("unused", [true, false, false]).into_iter().collect(),
        unpacks: unpacked.then_some(unpack).into_iter().collect(),
        ..ImageStore::default()
    };
    import(rig, archive, &into).await
}

async fn snapshots(rig: &Rig) -> BTreeMap<String, i32> {
    let request = api::ListSnapshotsRequest {
        snapshotter: OVERLAYFS.to_owned(),
        filters: Vec::new(),
    };
    let mut client = SnapshotsClient::new(rig.channel.clone());
    let mut pages = client.list(here(request)).await.expect("a list").into_inner();
    let mut all = BTreeMap::new();
    while let Some(page) = pages.message().await.expect("a page") {
        all.extend(page.info.into_iter().map(|info| (info.name, info.kind)));
    }
    all
}

async fn view(rig: &Rig, key: &str, parent: &str, labels: &[(&str, &str)]) -> Result<Vec<Mount>, Status> {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let request = api::ViewSnapshotRequest {
        snapshotter: OVERLAYFS.to_owned(),
        key: key.to_owned(),
        parent: parent.to_owned(),
        labels: labels.collect(),
    };
    let made = SnapshotsClient::new(rig.channel.clone())
        .view(here(request))
        .await?;
    Ok(made.into_inner().mounts)
}

async fn prepare(rig: &Rig, key: &str, parent: &str, labels: &[(&str, &str)]) -> Result<Vec<Mount>, Status> {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let request = api::PrepareSnapshotRequest {
        snapshotter: OVERLAYFS.to_owned(),
        key: key.to_owned(),
        parent: parent.to_owned(),
        labels: labels.collect(),
    };
    let made = SnapshotsClient::new(rig.channel.clone())
        .prepare(here(request))
        .await?;
    Ok(made.into_inner().mounts)
}

/// Programs that were started with this daemon's key.
fn programs(rig: &Rig) -> usize {
    let key = format!("KEY={}", key_file(rig.folder.path()).display());
    let all = std::fs::read_dir("/proc").expect("a folder").flatten();
    let environments = all.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
    let started = environments.filter(|all| all.split(|byte| *byte == 0).any(|one| one == key.as_bytes()));
    started.count()
}

/// Nothing is left of what was refused: these snapshots are there, nothing is mounted, held or at work.
async fn assert_unchanged(rig: &Rig, before: &BTreeMap<String, i32>) {
    assert_eq!(&snapshots(rig).await, before);
    assert_eq!(leases_of(rig).await, Vec::<String>::new());
    assert_eq!(mounts_below(rig.folder.path()), Vec::<PathBuf>::new());
    assert_eq!(programs(rig), 0);
}

#[track_caller]
fn assert_denied<T: std::fmt::Debug>(result: Result<T, Status>, why: &str) {
    let (code, text) = refused(result);
    assert_eq!(code, Code::PermissionDenied, "{text}");
    assert!(
        text.contains(why) && text.ends_with(": permission denied"),
        "{text}"
    );
}

#[tokio::test]
async fn an_encrypted_image_is_not_imported_into_its_twins_snapshots_without_its_key() {
    if !require_root() {
        return;
    }
    let rig = rig(OPENER, TAR_GZIP).await;
    let tars = tars();
    bring(&rig, plain(&tars), true).await.expect("unpacked");
    let before = snapshots(&rig).await;
    assert_eq!(before.len(), 2);
    assert_denied(bring(&rig, sealed(&tars), true).await, "No such file");
    assert_unchanged(&rig, &before).await;
    give_key(&rig, "open barley");
    assert_denied(
        bring(&rig, sealed(&tars), true).await,
        "stage opener: external processor sh failed (exit status: 3): wrong key",
    );
    assert_unchanged(&rig, &before).await;
    give_key(&rig, "open sesame");
    let events = bring(&rig, sealed(&tars), true).await.expect("it may be used");
    let extracted = events.iter().filter(|event| event.event == "extracted");
    assert_eq!(extracted.count(), 2);
    let again = events.iter().any(|event| event.event == "extracting");
    assert!(!again, "nothing is unpacked again: {events:?}");
    assert_unchanged(&rig, &before).await;
}

#[tokio::test]
async fn a_snapshot_is_not_handed_out_for_an_encrypted_image_without_its_key() {
    if !require_root() {
        return;
    }
    let rig = rig(OPENER, TAR_GZIP).await;
    let tars = tars();
    let [lower, top] = chain(&tars);
    bring(&rig, plain(&tars), true).await.expect("unpacked");
    bring(&rig, sealed(&tars), false).await.expect("imported");
    let before = snapshots(&rig).await;
    let missing = format!("image {SEALED}: layer sha256:");
    for key in [None, Some("open barley")] {
        if let Some(key) = key {
            give_key(&rig, key);
        }
        for label in [IMAGE, CRI] {
            for parent in [&lower, &top] {
                assert_denied(view(&rig, "mine", parent, &[(label, SEALED)]).await, &missing);
                assert_denied(prepare(&rig, "mine", parent, &[(label, SEALED)]).await, &missing);
            }
        }
        // A client that unpacks would go on without the layer.
        let adopt = [(IMAGE, SEALED), (REF, top.as_str())];
        assert_denied(prepare(&rig, "mine", "", &adopt).await, &missing);
        assert_unchanged(&rig, &before).await;
    }
    view(&rig, "plain", &top, &[(IMAGE, PLAIN)])
        .await
        .expect("it is for everybody");
    give_key(&rig, "open sesame");
    for (key, label) in [("ours", IMAGE), ("theirs", CRI)] {
        let mounts = view(&rig, key, &top, &[(label, SEALED)])
            .await
            .expect("handed out");
        assert_eq!(mounts.len(), 1, "{mounts:?}");
    }
    let adopt = [(IMAGE, SEALED), (REF, top.as_str())];
    let (code, text) = refused(prepare(&rig, "mine", "", &adopt).await);
    assert_eq!(code, Code::AlreadyExists, "{text}");
    assert_eq!(programs(&rig), 0);
}

/// Most clients name no image. Then those of the namespace are searched for what leads to the snapshot.
#[tokio::test]
async fn a_snapshot_that_only_encrypted_images_lead_to_needs_a_key_of_whoever_asks() {
    if !require_root() {
        return;
    }
    let rig = rig(OPENER, TAR_GZIP).await;
    let tars = tars();
    let [lower, top] = chain(&tars);
    give_key(&rig, "open sesame");
    bring(&rig, sealed(&tars), true).await.expect("unpacked");
    give_key(&rig, "none any more");
    let before = snapshots(&rig).await;
    let missing = format!("image {SEALED}: layer sha256:");
    for labels in [&[][..], &[(IMAGE, "registry.test/no-such:1")]] {
        for parent in [&lower, &top] {
            assert_denied(view(&rig, "mine", parent, labels).await, &missing);
            assert_denied(prepare(&rig, "mine", parent, labels).await, &missing);
        }
    }
    assert_denied(prepare(&rig, "mine", "", &[(REF, &*top)]).await, &missing);
    assert_unchanged(&rig, &before).await;
    give_key(&rig, "open sesame");
    view(&rig, "with the key", &top, &[]).await.expect("handed out");
    give_key(&rig, "none any more");
    assert_denied(view(&rig, "mine", &top, &[]).await, &missing);
    // Now an image says that everybody here may have the files.
    bring(&rig, plain(&tars), false).await.expect("imported");
    view(&rig, "plain", &top, &[]).await.expect("it is for everybody");
    assert_denied(view(&rig, "mine", &top, &[(IMAGE, SEALED)]).await, &missing);
    remove_image(&rig, PLAIN).await;
    assert_denied(view(&rig, "mine", &top, &[]).await, &missing);
    remove_image(&rig, SEALED).await;
    view(&rig, "nobody's", &top, &[])
        .await
        .expect("no image leads to it");
}

async fn remove_image(rig: &Rig, name: &str) {
    let request = transom_api::images::DeleteImageRequest {
        name: name.to_owned(),
        sync: false,
        ..transom_api::images::DeleteImageRequest::default()
    };
    let mut client = transom_api::images::images_client::ImagesClient::new(rig.channel.clone());
    client.delete(here(request)).await.expect("removed");
}

#[tokio::test]
async fn without_a_processor_an_encrypted_image_is_refused() {
    if !require_root() {
        return;
    }
    let rig = Rig::start().await;
    let tars = tars();
    let [_, top] = chain(&tars);
    bring(&rig, plain(&tars), true).await.expect("unpacked");
    let before = snapshots(&rig).await;
    let missing = format!("no processor is configured for {ENCRYPTED}");
    assert_denied(bring(&rig, sealed(&tars), true).await, &missing);
    bring(&rig, sealed(&tars), false).await.expect("imported");
    assert_denied(view(&rig, "mine", &top, &[(IMAGE, SEALED)]).await, &missing);
    assert_unchanged(&rig, &before).await;
}

/// The key is what is done to the layer, for each of the answers that a bad cipher can give.
#[tokio::test]
async fn what_processors_put_out_must_be_the_layer() {
    if !require_root() {
        return;
    }
    let rig = rig("sh -c \"$(cat \"$KEY\")\"", TAR).await;
    let tars = [
        Layer::new().file("secret", b"42").end(),
        Layer::new().file("more", b"1").end(),
    ];
    let [_, top] = chain(&tars);
    bring(&rig, plain(&tars), true).await.expect("unpacked");
    let sealed = tars
        .each_ref()
        .map(|tar| (ENCRYPTED, [b"1234567".as_slice(), tar].concat()));
    let sealed = image_of(SEALED, &diff_ids(&tars), &sealed);
    bring(&rig, sealed, false).await.expect("imported");
    for (key, why) in [
        ("exec tail -c +5", "is no layer, as with a wrong key"),
        ("cat > /dev/null", "its processors make sha256:e3b0c442"),
        ("cat > /dev/null; exit 7", "exit status: 7"),
        ("kill -9 $$", "stage opener"),
    ] {
        give_key(&rig, key);
        assert_denied(view(&rig, "mine", &top, &[(IMAGE, SEALED)]).await, why);
        assert_eq!(programs(&rig), 0, "{key}");
    }
    give_key(&rig, "exec tail -c +8");
    view(&rig, "mine", &top, &[(IMAGE, SEALED)])
        .await
        .expect("handed out");
}

/// A plugin is asked in the same way. One that decrypts would be, as this one is that decompresses.
#[tokio::test]
async fn plugins_are_asked_like_programs() {
    let Some(plugin) = plugin("xz") else { return };
    if !require_root() {
        return;
    }
    let folder = plugin.parent().expect("a folder").to_path_buf();
    let rig = Rig::with(|config| config.processors.folders = vec![folder]).await;
    let tars = tars();
    let [_, top] = chain(&tars);
    bring(&rig, plain(&tars), true).await.expect("unpacked");
    let xz = |tar: &Vec<u8>| Compression::Xz.compress(tar).expect("it compresses");
    let [good, other] = tars.each_ref().map(xz);
    let bad = [&other[..20], &[0; 40], &other[20..]].concat();
    let layers = [(LAYER_TAR_XZ, good.clone()), (LAYER_TAR_XZ, bad)];
    let broken = image_of(SEALED, &diff_ids(&tars), &layers);
    assert_denied(bring(&rig, broken, true).await, "plugin xz");
    let layers = [(LAYER_TAR_XZ, good), (LAYER_TAR_XZ, other)];
    let whole = image_of(SEALED, &diff_ids(&tars), &layers);
    bring(&rig, whole, true).await.expect("the plugin reads it");
    view(&rig, "mine", &top, &[(IMAGE, SEALED)])
        .await
        .expect("handed out");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_image_is_pulled_by_whoever_has_the_key() {
    if !require_root() {
        return;
    }
    let rig = rig(OPENER, TAR_GZIP).await;
    let tars = tars();
    bring(&rig, sealed(&tars), false).await.expect("imported");
    let name = format!("{}/team/sealed:1", serve("", false).await);
    let remote = || registry(&name, transom_api::transfer_types::RegistryResolver::default());
    let image = types("ImageStore", &named(SEALED));
    moved(&rig, image, remote()).await.expect("pushed");
    forget(&rig, SEALED).await;
    give_key(&rig, "mellon");
    let into = || types("ImageStore", &unpacked(&name));
    let (_, text) = refused(moved(&rig, remote(), into()).await);
    assert!(text.contains("wrong key"), "{text}");
    assert_eq!(snapshots(&rig).await, BTreeMap::new());
    assert_eq!(programs(&rig), 0);
    give_key(&rig, "open sesame");
    moved(&rig, remote(), into()).await.expect("pulled");
    let keys: Vec<String> = snapshots(&rig).await.into_keys().collect();
    let mut wanted = chain(&tars).to_vec();
    wanted.sort();
    assert_eq!(keys, wanted);
}
