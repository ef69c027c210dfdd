//! The power cut at every point of a push: what was acknowledged is there, and nothing is half there.
//!
//! The file system is one of its own, in a file on a loop device. When the process is killed, that file, copied, holds only what
//! was written back or flushed, and is what a disk would hold.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::runtime::Runtime;
use transom_oci::Digest;
use transom_registry::Store;
use transom_registry::manifest::Manifest;
use transom_registry::names::{Reference, Tag};
use transom_registry::store::ManifestPush;
use transom_storage::StoragePath;
use transom_tests::needs;

use crate::crash::{check_tags, kill, name, open, push, push_blob};
use crate::serving::{MANIFEST, sha256};

/// A file system in a file, mounted while this lives.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    fn make(folder: &Path) -> Disk {
        let image = folder.join("disk");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        Disk::mount(image)
    }

    fn mount(image: PathBuf) -> Disk {
        let mounted = image.with_extension("mounted");
        std::fs::create_dir_all(&mounted).unwrap();
        // The journal is written when it is asked for, and not every few seconds besides.
        run(Command::new("mount")
            .args(["-o", "loop,commit=300"])
            .args([&image, &mounted]));
        Disk { image, mounted }
    }

    /// What the disk would hold without power now.
    fn without_power(&self) -> Disk {
        let copy = self.image.with_file_name("copy");
        run(Command::new("cp")
            .arg("--sparse=always")
            .args([&self.image, &copy]));
        Disk::mount(copy)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.mounted));
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

const OLD_CONFIG: &[u8] = b"{ }";

/// An image under a tag that the push moves.
async fn push_old(store: &Store) {
    push_blob(store, OLD_CONFIG).await;
    let config = sha256(OLD_CONFIG);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"x/config","digest":"{config}","size":3}},"layers":[]}}"#
    );
    let push = ManifestPush {
        digest: None,
        tags: &[Tag::new("latest").unwrap()],
        media_type: Some(MANIFEST),
        bytes: manifest.into(),
    };
    store.push_manifest(&name(), push).await.unwrap();
}

/// The bytes of a blob that is there.
async fn blob(store: &Store, digest: &Digest) -> Vec<u8> {
    let (blob, reader) = store.open_blob(&name(), digest).await.unwrap();
    reader.collect("", blob.size).await.unwrap().to_vec()
}

/// What was acknowledged is there.
async fn check(store: &Store, done: &[String], point: usize) {
    let latest = Reference::Tag(Tag::new("latest").unwrap());
    let stored = store.manifest(&name(), &latest).await;
    let stored = stored.unwrap_or_else(|error| panic!("point {point}: {error}"));
    for needed in Manifest::read(&stored.bytes).unwrap().needed() {
        assert_eq!(
            sha256(&blob(store, needed.digest()).await),
            needed.digest().as_str()
        );
    }
    for done in done {
        match done.parse() {
            Ok(digest) => assert_eq!(sha256(&blob(store, &digest).await), *done),
            Err(_) => assert_eq!(check_tags(store).await, 2, "point {point}"),
        }
    }
}

/// Nothing on the disk is other than its name says.
async fn check_files(store: &Store, point: usize) {
    let mut walk = store.driver().walk(&StoragePath::root(), None).await.unwrap();
    while let Some(entry) = walk.next().await.unwrap() {
        let path = &entry.path;
        match path.name() {
            "data" => {
                let content = store.driver().get(path, 1 << 20).await.unwrap();
                let found = sha256(&content);
                assert!(
                    path.as_str().contains(&found[7..]),
                    "point {point}: {path} has {found}"
                );
            }
            "link" => {
                let content = store.driver().get(path, 100).await.unwrap();
                let text = std::str::from_utf8(&content).unwrap();
                assert!(
                    text.parse::<Digest>().is_ok(),
                    "point {point}: {path} has {text:?}"
                );
            }
            _ => {}
        }
    }
}

/// Cuts the power at each of the points, with that way to flush; gives how many there are.
fn cut_at(folder: &Path, flush: &str, wanted: impl Fn(usize) -> bool) -> usize {
    let disk = Disk::make(folder);
    let runtime = Runtime::new().unwrap();
    let (mut point, mut acknowledged) = (0, 0);
    loop {
        point += 1;
        if !wanted(point) {
            continue;
        }
        let root = point.to_string();
        runtime.block_on(push_old(&open(&disk.mounted.join(&root))));
        let noted = folder.join(format!("done-{root}"));
        let Some(done) = kill(&disk.mounted.join(&root), "push", point, flush, &noted) else {
            assert_eq!(acknowledged, 2, "both blobs, before the manifest was");
            return point;
        };
        acknowledged = done.len();
        runtime.block_on(check_after_cut(&disk, &root, &done, point));
    }
}

async fn check_after_cut(disk: &Disk, root: &str, done: &[String], point: usize) {
    let cut = disk.without_power();
    let store = open(&cut.mounted.join(root));
    check(&store, done, point).await;
    check_files(&store, point).await;
    push(&store, |_| {}).await;
    assert_eq!(check_tags(&store).await, 2, "point {point}");
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    if !needs::require_root() || needs::require_program("mkfs.ext4").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let points = cut_at(folder.path(), "", |point| point % 2 == 1);
    assert!(points > 30, "{points}");
}

#[test]
fn so_it_does_where_each_folder_is_flushed() {
    if !needs::require_root() || needs::require_program("mkfs.ext4").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    cut_at(folder.path(), "folders", |point| point % 4 == 0);
}

#[test]
fn so_it_does_by_the_journal() {
    if !needs::require_root() || needs::require_program("mkfs.ext4").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::make(folder.path());
    let runtime = Runtime::new().unwrap();
    // How many points there are depends on whether the journal's time ends on the way.
    let mut acknowledged = Vec::new();
    for point in (1..24).step_by(3) {
        let (root, noted) = (point.to_string(), folder.path().join(format!("done-{point}")));
        let place = disk.mounted.join(&root);
        runtime.block_on(push_old(&open(&place)));
        let done = kill(&place, "push", point, "journal", &noted).unwrap_or_default();
        runtime.block_on(check_after_cut(&disk, &root, &done, point));
        acknowledged.push(done.len());
        std::fs::remove_dir_all(&place).unwrap();
    }
    assert!(
        acknowledged.contains(&1) || acknowledged.contains(&2),
        "{acknowledged:?}"
    );
}
