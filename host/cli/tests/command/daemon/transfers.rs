//! `transom image import` and `export`, by a daemon that has containerd's Transfer service; containerd 1.6 has none.

use std::fs;
use std::path::Path;
use std::process::Command;

use transom_tests::sample::{Compression, ImageBuilder, Meta, Shape};

use super::rig::{Rig, shape};
use crate::support::{NOT_FOUND, OTHER, USAGE};

/// An archive of an image of two layers, tagged `v1`.
fn archive(rig: &Rig) -> String {
    let layout = rig.path("layout");
    let mut builder = ImageBuilder::new();
    for (number, compression) in [Compression::Gzip, Compression::Zstd].into_iter().enumerate() {
        let added = builder.layer(&format!("layer {number}"), compression, |layer| {
            let content = format!("content of {number}");
            layer.file(
                format!("file-{number}").as_bytes(),
                &Meta::new(0o644),
                content.as_bytes(),
            );
            Ok(())
        });
        added.unwrap();
    }
    builder.write(&layout, "v1", Shape::Flat).unwrap();
    pack(&layout, &rig.path("image.tar"))
}

fn pack(layout: &Path, archive: &Path) -> String {
    let status = Command::new("tar")
        .arg("-cf")
        .arg(archive)
        .arg("-C")
        .arg(layout)
        .arg(".")
        .status();
    assert!(status.unwrap().success());
    archive.display().to_string()
}

#[test]
fn what_is_imported_can_be_exported_and_is_the_same_each_time() {
    let rig = Rig::transomd();
    let archive = archive(&rig);
    let saved = rig.one(&[
        "image",
        "import",
        "--no-unpack",
        "--base-name",
        "example.org/app",
        &archive,
    ]);
    assert_eq!(shape(&saved), "{digest name}");
    assert_eq!(saved["name"], "example.org/app:v1");
    assert_eq!(rig.ok(&["image", "ls", "-q"]), "example.org/app:v1\n");
    rig.ok(&["gc", "run"]);
    assert_eq!(rig.one(&["image", "check"])["platforms"][0]["status"], "complete");

    let (first, second) = (rig.path("first.tar"), rig.path("second.tar"));
    let export = |to: &Path| {
        rig.ok(&["image", "export", to.to_str().unwrap(), "example.org/app:v1"]);
        fs::read(to).unwrap()
    };
    let bytes = export(&first);
    assert_eq!(bytes, export(&second));
    let stdout = rig.run(&["image", "export", "-", "example.org/app:v1"]).stdout;
    assert!(stdout == bytes, "stdout gets something else than a file");

    rig.ok(&["image", "rm", "--sync", "example.org/app:v1"]);
    assert_eq!(rig.ok(&["content", "ls", "-q"]), "");
    rig.ok(&[
        "image",
        "import",
        "--no-unpack",
        "--all-platforms",
        first.to_str().unwrap(),
    ]);
    let again = rig.one(&["image", "ls"]);
    assert_eq!(again["name"], "example.org/app:v1");
}

#[test]
fn an_import_is_unpacked() {
    if !transom_tests::require_root() {
        return;
    }
    let rig = Rig::transomd();
    let archive = archive(&rig);
    let stdin = fs::File::open(&archive).unwrap();
    let mut command = rig.command(&["image", "import", "--base-name", "app", "-"]);
    let done = command.stdin(stdin).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        "app:v1\n",
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(rig.one(&["image", "check"])["platforms"][0]["unpacked"], true);
    assert_eq!(rig.json(&["snapshot", "ls", "kind==committed"]).len(), 2);
    let folder = rig.path("on");
    fs::create_dir(&folder).unwrap();
    let on = folder.to_str().unwrap();
    rig.ok(&["image", "mount", "app:v1", on]);
    let content = fs::read_to_string(folder.join("file-1"));
    rig.ok(&["image", "unmount", "--rm", on]);
    assert_eq!(content.unwrap(), "content of 1");
}

#[test]
fn what_is_no_archive_is_refused_and_nothing_is_left() {
    let rig = Rig::transomd();
    let whole = fs::read(archive(&rig)).unwrap();
    let cut = rig.file("cut.tar", &whole[..whole.len() / 2]);
    let rubbish = rig.file("rubbish.tar", &[7; 4096]);
    for file in [&cut, &rubbish] {
        let done = rig.run(&["image", "import", file]);
        assert!(!matches!(done.code, Some(0) | None), "{file} was taken");
        assert!(!done.stderr.is_empty());
    }
    rig.run(&["image", "import", "/no/such/file"])
        .fails(NOT_FOUND, &["/no/such/file"]);
    let folder = rig.path("layout");
    rig.run(&["image", "import", folder.to_str().unwrap()])
        .fails(USAGE, &["is a folder"]);
    let to = rig.path("none.tar");
    rig.run(&["image", "export", to.to_str().unwrap(), "none:v1"])
        .fails(NOT_FOUND, &["none:v1"]);
    assert!(!to.exists());
    rig.ok(&["gc", "run"]);
    assert_eq!(rig.ok(&["image", "ls", "-q"]), "");
    assert_eq!(rig.ok(&["content", "ls", "-q"]), "");
    assert_eq!(rig.ok(&["lease", "ls", "-q"]), "");
}

#[test]
fn a_daemon_without_transfers_is_told_apart() {
    if let Some(rig) = Rig::containerd() {
        let archive = archive(&rig);
        rig.run(&["image", "import", &archive])
            .fails(OTHER, &["containerd can since 1.7"]);
    }
}
