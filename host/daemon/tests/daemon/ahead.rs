//! Layers that are unpacked while a client still writes them: what it gets is what it would have got, and what it does not ask for
//! is forgotten.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;
use transom_api::content::{WriteAction, WriteContentRequest};
use transom_api::snapshots::StatSnapshotRequest;
use transom_api::snapshots::snapshots_client::SnapshotsClient;
use transom_api::transfer_types::{ImageStore, UnpackConfiguration};
use transom_api::types::Mount;
use transom_tests::needs::require_root;
use transom_tests::sample::Compression;
use transom_tests::tree::{self, Tree};

use crate::blobs::{Write, commit};
use crate::layers::{Layer, TAR, TAR_GZIP, TAR_ZSTD, ask, bind, folder, gzip, overlay, request};
use crate::rig::{Rig, here, sha256};
use crate::transfer::prefix;
use crate::transfer_client::{image_of, import};

async fn rig(ahead: bool) -> Rig {
    let change = |config: &mut transomd::config::Config| {
        config.diff.ahead = ahead;
        config.metrics = Some("127.0.0.1:0".parse().expect("an address"));
    };
    Rig::with(change).await
}

/// Bytes that no compression makes small.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Opens a write stream as containerd's client does, and writes all but a few bytes of a blob.
async fn begin(rig: &Rig, reference: &str, blob: &[u8]) -> (Write, usize) {
    let total = i64::try_from(blob.len()).expect("small");
    let first = WriteContentRequest {
        r#ref: reference.to_owned(),
        total,
        ..WriteContentRequest::default()
    };
    let (mut write, _) = Write::open(rig, first).await.expect("a new ref");
    let most = blob.len() - 100;
    let mut at = 0;
    for piece in blob[..most].chunks(100_000) {
        append(&mut write, at, piece).await;
        at += piece.len();
    }
    (write, at)
}

async fn append(write: &mut Write, at: usize, piece: &[u8]) {
    let message = WriteContentRequest {
        action: WriteAction::Write.into(),
        offset: i64::try_from(at).expect("small"),
        data: Bytes::copy_from_slice(piece),
        ..WriteContentRequest::default()
    };
    write.ask(message).await.expect("it is written");
}

/// Writes a whole blob.
async fn put(rig: &Rig, reference: &str, blob: &[u8]) {
    let (mut write, at) = begin(rig, reference, blob).await;
    append(&mut write, at, &blob[at..]).await;
    let total = i64::try_from(blob.len()).expect("small");
    let message = commit(total, total, &sha256(blob));
    write.ask(message).await.expect("it is right");
    write.finish().await;
}

/// How many layers that were unpacked ahead became what.
async fn counted(rig: &Rig, result: &str) -> u64 {
    let text = rig.metrics_text().await;
    let name = format!("transom_layers_ahead_total{{result=\"{result}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .expect("a number")
}

async fn until(rig: &Rig, result: &str, count: u64) {
    while counted(rig, result).await < count {
        tokio::task::yield_now().await;
    }
}

/// What is left in the folder of unpacked layers, once the background is done with it.
async fn emptied(rig: &Rig) {
    let folder = rig.folder.path().join("root/io.transom.ahead.v1");
    while fs::read_dir(&folder).expect("a folder").next().is_some() {
        tokio::task::yield_now().await;
    }
}

/// Folders for one layer: an upper one, and lower ones with something in them.
struct Place {
    at: TempDir,
    upper: PathBuf,
}

impl Place {
    /// On the file system of a rig.
    fn of(rig: &Rig) -> Place {
        let at = tempfile::tempdir_in(rig.folder.path()).expect("a folder");
        let (upper, low) = (folder(at.path(), "u"), folder(at.path(), "low"));
        folder(at.path(), "lowest");
        for (path, mode, owner) in [("usr", 0o751, 7), ("usr/share", 0o700, 9), ("etc", 0o711, 3)] {
            let made = folder(&low, path);
            chown(&made, Some(owner), Some(owner + 1)).expect("an owner");
            fs::set_permissions(&made, fs::Permissions::from_mode(mode)).expect("a mode");
        }
        Place { at, upper }
    }

    fn low(&self, path: &str) -> PathBuf {
        self.at.path().join("low").join(path)
    }

    fn overlay(&self) -> [Mount; 1] {
        let (low, lowest) = (self.low(""), self.at.path().join("lowest"));
        [overlay(Some(&self.upper), &[&low, &lowest])]
    }

    /// What the upper folder has. Folders that no entry lists get the time when something was put into them.
    fn tree(&self) -> Tree {
        let mut tree = tree::walk(&self.upper).expect("a tree");
        for entry in tree.entries.values_mut() {
            if entry.mtime > 1_700_000_000 {
                (entry.mtime, entry.mtime_nsec) = (0, 0);
            }
        }
        tree
    }
}

/// A layer with everything that depends on where it goes.
fn layer() -> Vec<u8> {
    Layer::new()
        .file("usr/share/doc/unlisted", b"in a folder that nothing lists")
        .file("listed/later/file", b"x")
        .folder("listed", 0o1777)
        .folder("opaque", 0o750)
        .file("opaque/.wh..wh..opq", b"")
        .file("etc/.wh.gone", b"")
        .file("big", &noise(900_000, 3))
        .file(".wh..wh..opq", b"")
        .end()
}

#[tokio::test]
async fn a_layer_is_the_same_whenever_it_is_unpacked() {
    if !require_root() {
        return;
    }
    let (ahead, plain) = (rig(true).await, rig(false).await);
    let tar = layer();
    let zstd = Compression::Zstd.compress(&tar).expect("it compresses");
    let blobs = [(TAR_GZIP, gzip(&tar)), (TAR_ZSTD, zstd), (TAR, tar.clone())];
    for (number, (media_type, blob)) in blobs.iter().enumerate() {
        let mut trees = Vec::new();
        for rig in [&ahead, &plain] {
            put(rig, &format!("layer-{number}"), blob).await;
            let place = Place::of(rig);
            let applied = ask(rig, request(media_type, blob, &place.overlay())).await;
            let applied = applied.expect("it is applied");
            assert_eq!(
                (applied.media_type.as_str(), &applied.digest, applied.size),
                (TAR, &sha256(&tar), tar.len() as i64)
            );
            trees.push(place.tree());
        }
        let differences = tree::diff(&trees[1], &trees[0], &tree::Ignore::default());
        assert!(differences.is_empty(), "{media_type}: {differences:?}");
        assert!(trees[0].entries.contains_key(&b"etc/gone"[..]), "a whiteout");
        assert_eq!(counted(&ahead, "used").await, number as u64 + 1, "{media_type}");
    }
    emptied(&ahead).await;
}

#[tokio::test]
async fn the_first_layer_goes_into_its_bind_mount() {
    if !require_root() {
        return;
    }
    let rig = rig(true).await;
    let tar = Layer::new()
        .folder("d", 0o750)
        .file("d/f", &noise(400_000, 5))
        .end();
    let blob = gzip(&tar);
    put(&rig, "tar-blobs/sha256/1", &blob).await;
    let place = Place::of(&rig);
    ask(&rig, request(TAR_GZIP, &blob, &[bind(&place.upper)]))
        .await
        .expect("it is applied");
    assert_eq!(
        fs::metadata(place.upper.join("d/f")).expect("a file").len(),
        400_000
    );
    assert_eq!(counted(&rig, "used").await, 1);
}

/// What a layer takes away must be there to be taken away: then it is applied as if nothing had been unpacked.
#[tokio::test]
async fn where_it_would_become_something_else_it_is_applied_anew() {
    if !require_root() {
        return;
    }
    let rig = rig(true).await;
    let blob = gzip(&layer());
    let apply = async |number: u32, mounts: &[Mount]| {
        put(&rig, &format!("layer-{number}"), &blob).await;
        let applied = ask(&rig, request(TAR_GZIP, &blob, mounts)).await;
        assert_eq!(applied.expect("it is applied").digest, sha256(&layer()));
        // The blob goes, so that it can be written again.
        let request = transom_api::content::DeleteContentRequest {
            digest: sha256(&blob),
        };
        let deleted = crate::blobs::client(&rig).delete(crate::rig::here(request)).await;
        deleted.expect("it is deleted");
    };
    let full = Place::of(&rig);
    fs::create_dir(full.upper.join("etc")).expect("a folder");
    fs::write(full.upper.join("etc/gone"), "old").expect("a file");
    apply(1, &[bind(&full.upper)]).await;
    assert!(!full.upper.join("etc/gone").exists(), "it was removed");
    // A group that a lower folder gives on.
    let setgid = Place::of(&rig);
    fs::set_permissions(setgid.low("usr/share"), fs::Permissions::from_mode(0o2755)).expect("a mode");
    apply(2, &setgid.overlay()).await;
    let made = fs::metadata(setgid.upper.join("usr/share/doc")).expect("a folder");
    assert_eq!(made.gid(), 10, "the lower folder's");
    // Another file system.
    let other = Path::new("/dev/shm");
    let shm = tempfile::tempdir_in(other).expect("a folder");
    let lone = folder(shm.path(), "u");
    apply(3, &[overlay(Some(&lone), &[])]).await;
    assert!(lone.join("big").exists());
    assert_eq!(counted(&rig, "used").await, 0);
    emptied(&rig).await;
}

#[tokio::test]
async fn what_is_not_a_layer_or_not_whole_leaves_nothing() {
    if !require_root() {
        return;
    }
    let rig = rig(true).await;
    let tar = layer();
    // Cut: the client goes before the end.
    let blob = gzip(&tar);
    let (write, _) = begin(&rig, "layer-cut", &blob).await;
    drop(write);
    until(&rig, "failed", 1).await;
    // Not a tar.
    let noise = gzip(&noise(500_000, 9));
    put(&rig, "layer-noise", &noise).await;
    until(&rig, "failed", 2).await;
    // Begun again from the start.
    let (mut write, _) = begin(&rig, "layer-again", &blob).await;
    append(&mut write, 0, b"something else").await;
    until(&rig, "failed", 3).await;
    emptied(&rig).await;
    // A ref that no client gives a layer, and a blob that is small.
    put(&rig, "cache-1", &blob).await;
    let place = Place::of(&rig);
    let applied = ask(&rig, request(TAR_GZIP, &blob, &place.overlay())).await;
    assert_eq!(applied.expect("it is applied").digest, sha256(&tar));
    assert_eq!(
        (counted(&rig, "used").await, counted(&rig, "failed").await),
        (0, 3)
    );
}

#[tokio::test]
async fn layers_of_an_archive_that_the_daemon_imports_are_unpacked_ahead() {
    if !require_root() {
        return;
    }
    let rig = rig(true).await;
    let tar = Layer::new()
        .folder("d", 0o750)
        .file("d/f", &noise(4_000_000, 7))
        .end();
    let layers = [(TAR_GZIP, gzip(&tar))];
    let archive = image_of("registry.test/ahead:1", &[sha256(&tar)], &layers);
    let into = ImageStore {
        extra_references: prefix("unused", [true, false, false]).into_iter().collect(),
        unpacks: vec![UnpackConfiguration {
            platform: None,
            snapshotter: "overlayfs".to_owned(),
        }],
        ..ImageStore::default()
    };
    import(&rig, archive, &into).await.expect("it is imported");
    assert_eq!(counted(&rig, "used").await, 1);
    let request = StatSnapshotRequest {
        snapshotter: "overlayfs".to_owned(),
        key: sha256(&tar),
    };
    let found = SnapshotsClient::new(rig.channel.clone())
        .stat(here(request))
        .await;
    found.expect("its only layer is a snapshot");
    emptied(&rig).await;
}

#[tokio::test]
async fn what_an_earlier_daemon_left_is_removed() {
    if !require_root() {
        return;
    }
    let rig = rig(true).await;
    let blob = gzip(&layer());
    put(&rig, "layer-1", &blob).await;
    let root = rig.folder.path().join("root/io.transom.ahead.v1");
    assert!(fs::read_dir(&root).expect("a folder").next().is_some());
    let kept = rig.stop().await;
    let again = Rig::with(|config| {
        config.root = kept.path().join("root");
        config.diff.ahead = true;
    })
    .await;
    while fs::read_dir(&root).expect("a folder").next().is_some() {
        tokio::task::yield_now().await;
    }
    let place = Place::of(&again);
    let missing = ask(&again, request(TAR_GZIP, &blob, &place.overlay())).await;
    // The records of a rig are in memory: this daemon knows nothing of the blob.
    assert_eq!(missing.expect_err("it is not here").code(), tonic::Code::NotFound);
}
