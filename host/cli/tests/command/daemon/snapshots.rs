//! `transom snapshot`, `transom diff`, and images on folders.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::images;
use super::rig::{Rig, on_both, shape};
use crate::support::{NOT_FOUND, OTHER, USAGE};

on_both!(
    snapshots_are_made_committed_and_removed,
    what_changed_is_a_layer,
    an_image_is_unpacked_and_mounted,
);

/// Snapshots are folders of other owners, and mounts: nothing for users.
fn as_root() -> bool {
    transom_tests::require_root()
}

fn snapshots_are_made_committed_and_removed(rig: &Rig) {
    if !as_root() {
        return;
    }
    let made = rig.one(&["snapshot", "prepare", "--label", "what=this", "a"]);
    assert_eq!(shape(&made), "{key mounts:[{options:[] source target type}]}");
    let listed = rig.one(&["snapshots", "ls", "kind==active"]);
    assert_eq!(shape(&listed), "{created key kind labels parent updated}");
    assert_eq!(
        (&listed["key"], &listed["labels"]["what"]),
        (&"a".into(), &"this".into())
    );
    let bind = rig.ok(&["snapshot", "mounts", "a", "/on this"]);
    assert!(
        bind.starts_with("mount -t bind /") && bind.contains("'/on this' -o "),
        "{bind}"
    );
    assert_eq!(rig.ok(&["snapshot", "commit", "base", "a"]), "base\n");
    rig.ok(&["snapshot", "view", "v", "base"]);
    assert_eq!(rig.ok(&["snapshot", "tree"]), "base (committed)\n  v (view)\n");
    assert_eq!(rig.one(&["snapshot", "tree"])["above"][0]["key"], "v");
    let info = rig.ok(&["snapshot", "info", "v"]);
    assert!(
        info.contains("kind     view") && info.contains("parent   base"),
        "{info}"
    );
    let usage = rig.json(&["snapshot", "usage"]);
    assert_eq!(usage.len(), 2);
    assert_eq!(shape(&usage[0]), "{inodes key size}");
    assert!(usage[0]["inodes"].as_u64() >= Some(1), "{usage:?}");
    let labelled = rig.ok(&["snapshot", "label", "base", "x=y"]);
    assert!(labelled.ends_with(",x=y\n"), "{labelled}");
    // What was made by hand is no garbage.
    rig.ok(&["gc", "run"]);

    rig.run(&["snapshot", "rm", "base"])
        .fails(OTHER, &["cannot remove snapshot with child"]);
    rig.run(&["snapshot", "prepare", "b", "nothing"])
        .fails(NOT_FOUND, &["nothing"]);
    rig.run(&["snapshot", "prepare", "v"])
        .fails(OTHER, &["already exists"]);
    rig.run(&["snapshot", "mounts", "base"]).fails(OTHER, &[]);
    rig.run(&["snapshot", "--snapshotter", "none", "ls"])
        .fails(USAGE, &["none"]);
    rig.run(&["snapshot", "info", "nothing"])
        .fails(NOT_FOUND, &["nothing"]);
    assert_eq!(rig.ok(&["snapshot", "rm", "v", "base"]), "v\nbase\n");
    assert_eq!(rig.ok(&["snapshot", "ls", "-q"]), "");
}

fn what_changed_is_a_layer(rig: &Rig) {
    if !as_root() {
        return;
    }
    let folder = rig.path("on");
    fs::create_dir(&folder).unwrap();
    let on = folder.to_str().unwrap();
    rig.ok(&["snapshot", "prepare", "-t", on, "a"]);
    fs::write(folder.join("kept"), "kept").unwrap();
    fs::write(folder.join("gone"), "gone").unwrap();
    rig.ok(&["image", "unmount", on]);
    rig.ok(&["snapshot", "commit", "base", "a"]);
    rig.ok(&["snapshot", "prepare", "-t", on, "b", "base"]);
    fs::remove_file(folder.join("gone")).unwrap();
    fs::create_dir(folder.join("new")).unwrap();
    fs::write(folder.join("new/file"), "new").unwrap();
    rig.ok(&["image", "umount", on]);

    let plain = ["--media-type", "application/vnd.oci.image.layer.v1.tar"];
    let layer = rig.run(&[&["diff"], &plain[..], &["b"]].concat());
    assert_eq!(layer.code, Some(0), "{}", layer.stderr);
    assert_eq!(names(&layer.stdout), [".wh.gone", "new/", "new/file"]);
    // The same as from what it stands on.
    let both = rig.run(&[&["diff"], &plain[..], &["base", "b"]].concat());
    assert_eq!(both.code, Some(0), "{}", both.stderr);
    assert!(both.stdout == layer.stdout, "{:?}", names(&both.stdout));
    let kept = rig.one(&["diff", "--keep", "base"]);
    assert_eq!(shape(&kept), "{digest kept mediaType size}");
    rig.ok(&["gc", "run"]);
    let digest = kept["digest"].as_str().unwrap();
    assert!(rig.ok(&["content", "ls", "-q"]).contains(digest));
    // Nothing is left of the views that it took.
    assert_eq!(rig.ok(&["snapshot", "ls", "-q"]), "b\nbase\n");
    rig.run(&["diff", "nothing"]).fails(NOT_FOUND, &["nothing"]);
}

/// The names in a tar, in its order.
fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

fn an_image_is_unpacked_and_mounted(rig: &Rig) {
    if !as_root() {
        return;
    }
    images::import(rig, "one");
    let usage = rig.one(&["image", "usage", "one"]);
    assert_eq!(usage["snapshots"]["complete"], false);
    let top = rig.ok(&["image", "unpack", "one"]);
    // What is there is not unpacked again.
    let unpacked = rig.one(&["image", "unpack", "one"]);
    assert_eq!(unpacked["chainID"], top.trim());
    assert_eq!(rig.ok(&["snapshot", "ls", "-q"]), top);
    let usage = rig.one(&["image", "usage", "one"]);
    assert_eq!(usage["snapshots"]["complete"], true);
    assert!(usage["snapshots"]["inodes"].as_u64() >= Some(1), "{usage}");
    let checked = rig.one(&["image", "check"]);
    assert_eq!(checked["platforms"][0]["unpacked"], true);

    let folder = rig.path("on");
    fs::create_dir(&folder).unwrap();
    let on = folder.to_str().unwrap();
    rig.ok(&["image", "mount", "one", on]);
    assert!(fs::read_dir(&folder).unwrap().next().is_some());
    assert!(fs::write(folder.join("new"), "").is_err(), "it can be written to");
    rig.run(&["image", "mount", "one", on])
        .fails(OTHER, &["already exists"]);
    rig.ok(&["image", "unmount", "--rm", on]);
    assert!(!is_mounted(&folder));
    assert_eq!(rig.ok(&["snapshot", "ls", "-q"]), top);

    rig.ok(&["image", "mount", "--rw", "one", on]);
    fs::write(folder.join("new"), "new").unwrap();
    rig.ok(&["image", "unmount", on]);
    // What was written is still there.
    let key = folder.canonicalize().unwrap();
    rig.ok(&["snapshot", "info", key.to_str().unwrap()]);

    let other = rig.path("other");
    fs::create_dir(&other).unwrap();
    rig.run(&["image", "mount", "none", other.to_str().unwrap()])
        .fails(NOT_FOUND, &["none"]);
    let elsewhere = ["image", "unpack", "--platform", "windows/arm64", "one"];
    rig.run(&elsewhere).fails(NOT_FOUND, &["windows/arm64"]);
    rig.run(&["image", "mount", "one", "/no/such/folder"])
        .fails(NOT_FOUND, &["/no/such/folder"]);
}

fn is_mounted(folder: &Path) -> bool {
    let status = Command::new("mountpoint").arg("-q").arg(folder).status();
    status.unwrap().success()
}
