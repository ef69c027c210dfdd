//! `--processor`: external programs with containerd's contract.

use std::fs;
use std::path::Path;

use transom_oci::media_type::LAYER_TAR;
use transom_tests::sample::Compression;

use crate::image::{RawImage, RawLayer, Tar};
use crate::support::{DAMAGED, NOT_FOUND, OTHER, USAGE, assert_empty, unpack};

const STRANGE: &str = "application/x-strange";

/// An image of one layer in gzip, under a media type that nothing built in takes.
fn strange(folder: &Path) -> RawImage {
    let tar = Tar::new().file("file", b"content").end();
    let blob = Compression::Gzip.compress(&tar).unwrap();
    RawImage::write(&folder.join("image"), &[RawLayer::typed(STRANGE, blob, &tar)])
}

fn inline(program: &str, arguments: &[&str]) -> String {
    let arguments: String = arguments
        .iter()
        .map(|argument| format!(",arg={argument}"))
        .collect();
    format!("id=p,accepts={STRANGE},returns={LAYER_TAR},path={program}{arguments}")
}

#[test]
fn a_real_program_reads_the_layer() {
    let folder = tempfile::tempdir().unwrap();
    let image = strange(folder.path());
    let target = folder.path().join("inline");
    let done = unpack(
        &image.layout,
        &target,
        &["--processor", &inline("gzip", &["-dc"])],
    );
    assert!(done.ok().contains("p          (exec)"));
    assert_eq!(fs::read(target.join("file")).unwrap(), b"content");

    let config = folder.path().join("config.toml");
    let text = format!(
        "version = 3\n[stream_processors]\n[stream_processors.\"io.test.gunzip\"]\naccepts = [\"a/b\", \"{STRANGE}\"]\n\
         returns = \"{LAYER_TAR}\"\npath = \"sh\"\nargs = [\"-c\", \"$TOOL -dc\"]\nenv = [\"TOOL=gzip\"]\n"
    );
    fs::write(&config, text).unwrap();
    let target = folder.path().join("toml");
    let done = unpack(
        &image.layout,
        &target,
        &["--json", "--processor", config.to_str().unwrap()],
    )
    .json();
    assert_eq!(done["layers"][0]["stages"][0]["name"], "io.test.gunzip");
    assert_eq!(fs::read(target.join("file")).unwrap(), b"content");
}

#[test]
fn the_program_is_told_the_media_type_and_finds_the_payload_on_descriptor_3() {
    let folder = tempfile::tempdir().unwrap();
    let image = strange(folder.path());
    let (seen, key) = (folder.path().join("seen"), folder.path().join("key"));
    fs::write(&key, b"the key").unwrap();
    let script = folder.path().join("script");
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$STREAM_PROCESSOR_MEDIATYPE\" >{0}\ncat <&3 >>{0}\nexec gzip -dc\n",
        seen.display()
    );
    fs::write(&script, text).unwrap();
    let processor = inline("sh", &[script.to_str().unwrap()]);
    let payload = format!("p=type.example/key={}", key.display());
    let target = folder.path().join("root");
    unpack(
        &image.layout,
        &target,
        &["--processor", &processor, "--payload", &payload],
    )
    .ok();
    // google.protobuf.Any: the type URL is field 1, the value field 2.
    let mut want = format!("{STRANGE}\n").into_bytes();
    want.extend_from_slice(b"\x0a\x10type.example/key\x12\x07the key");
    assert_eq!(fs::read(&seen).unwrap(), want);
}

#[test]
fn a_program_that_fails_fails_the_layer_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let image = strange(folder.path());
    let target = folder.path().join("root");
    fs::create_dir(&target).unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "gzip -dc\necho 'wrong key' >&2\nexit 3\n").unwrap();
    let script = script.to_str().unwrap();
    let fails = |processor: &str, code, texts: &[&str]| {
        unpack(&image.layout, &target, &["--processor", processor]).fails(code, texts);
        assert_empty(&target);
    };
    fails(
        &inline("sh", &[script]),
        OTHER,
        &["stage p", "exit status: 3", "wrong key"],
    );
    fails(
        &inline("/no/such/program", &[]),
        OTHER,
        &["/no/such/program", "No such file"],
    );
    // The bytes it gives are no tar, and then not those that the configuration promises.
    fails(&inline("cat", &[]), DAMAGED, &["tar"]);
    fails(&inline("true", &[]), DAMAGED, &["diffID", "passed through p"]);
    fails("id=x,path=y", USAGE, &["accepts is missing"]);
    fails("/no/such/file.toml", NOT_FOUND, &["/no/such/file.toml"]);
}
