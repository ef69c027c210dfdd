//! `transom fsck` on the root of a daemon that has stopped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::rig::Rig;
use crate::support::{DAMAGED, Done, NOT_FOUND, UNAVAILABLE, transom};

/// A root with three blobs.
fn root() -> (TempDir, [String; 3]) {
    let rig = Rig::transomd();
    let digests = [b"one".as_slice(), b"two", b"three"].map(|content| rig.ingest(content));
    (rig.stop(), digests)
}

fn fsck(folder: &TempDir, flags: &[&str]) -> Done {
    let mut command = transom(["--root"]);
    command.arg(folder.path().join("root")).arg("fsck").args(flags);
    command.output().unwrap().into()
}

fn blob(folder: &TempDir, digest: &str) -> PathBuf {
    let blobs = folder.path().join("root/io.containerd.content.v1.content/blobs");
    blobs.join(digest.replace(':', "/"))
}

fn damage(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, b"owt").unwrap();
}

#[test]
fn what_a_daemon_leaves_is_whole() {
    let (folder, _) = root();
    let text = fsck(&folder, &["--verify"]).ok();
    assert!(text.contains("3 blobs (11 B), 3 of them hashed"), "{text}");
    assert!(text.contains("no problems"), "{text}");
    let text = fsck(&folder, &[]).ok();
    assert!(
        text.contains("0 of them hashed") && text.contains("--verify hashes them"),
        "{text}"
    );
    let document = fsck(&folder, &["--json"]).json();
    assert_eq!(document["clean"], true);
    assert_eq!(document["counts"]["content"], 3);
    assert_eq!(document["findings"], Value::Array(Vec::new()));
}

#[test]
fn what_is_broken_is_named_and_repaired() {
    let (folder, [one, two, three]) = root();
    fs::remove_file(blob(&folder, &one)).unwrap();
    damage(&blob(&folder, &two));
    let done = fsck(&folder, &[]);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        text.contains(&one) && !text.contains(&two),
        "bytes are not looked at: {text}"
    );
    done.fails(DAMAGED, &["1 problem", "--repair"]);

    let done = fsck(&folder, &["--verify", "--json"]);
    let document: Value = serde_json::from_slice(&done.stdout).unwrap();
    let mut kinds: Vec<&str> = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["kind"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["damaged-blob", "missing-blob"]);
    assert_eq!(document["left"], 2);

    let text = fsck(&folder, &["--verify", "--repair"]).ok();
    assert!(text.contains("2 repaired, 0 left"), "{text}");
    let set_aside = folder
        .path()
        .join("root/io.containerd.content.v1.content/damaged");
    let aside = set_aside.join(two.replace(':', "-"));
    assert_eq!(fs::read(aside).unwrap(), b"owt", "nothing is thrown away");
    assert!(fsck(&folder, &["--verify"]).ok().contains("no problems"));

    let rig = Rig::transomd_in(folder);
    assert_eq!(
        rig.ok(&["content", "ls", "-q"]).trim(),
        three,
        "the daemon goes on with the rest"
    );
    assert_eq!(rig.ingest(b"two"), two, "what was damaged can come again");
}

#[test]
fn it_needs_a_root_to_itself() {
    let rig = Rig::transomd();
    let mut command = transom(["--root"]);
    let done: Done = command.arg(rig.path("root")).arg("fsck").output().unwrap().into();
    done.fails(UNAVAILABLE, &["in use", "pid"]);
    let folder = tempfile::tempdir().unwrap();
    fsck(&folder, &[]).fails(NOT_FOUND, &["no metadata in", "content ls --verify"]);
    assert!(!folder.path().join("root").exists(), "looking makes nothing");
}
