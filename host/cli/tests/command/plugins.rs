//! Plugins through the command: those under `plugins/`, and some that misbehave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use transom_oci::media_type::LAYER_TAR;
use transom_tests::sample::{Compression, LAYER_TAR_XZ, SECRETS_FILE};

use crate::guests::{guest, spy};
use crate::image::{RawImage, small};
use crate::support::{
    DAMAGED, Done, LIMIT, NOT_FOUND, OTHER, REFUSED, USAGE, assert_tree, run, transom, unpack,
};

/// The folder of a plugin that is built, as an argument.
fn built(name: &str) -> Option<String> {
    let component = transom_tests::plugin(name)?;
    Some(component.parent().unwrap().display().to_string())
}

/// Runs a plugin on some bytes.
fn pass(arguments: &[&str], input: &[u8]) -> Done {
    use std::io::Write;
    let mut command = transom(["plugin", "run"]);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A plugin may stop reading before the end.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.into()
}

#[test]
fn an_image_passes_through_three_plugins() {
    let (Some(xz), Some(secrets), Some(count)) = (built("xz"), built("secrets"), built("count")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let sample = small(folder.path());
    let target = folder.path().join("root");
    let flags = [
        "--json", "--plugin", &xz, "--plugin", &secrets, "--plugin", &count,
    ];
    let document = unpack(&sample.layout, &target, &flags).json();
    assert_tree(&sample.tree, &target);
    let names = |layer: usize| {
        let stages = document["layers"][layer]["stages"].as_array().unwrap();
        let names: Vec<&str> = stages
            .iter()
            .map(|stage| stage["name"].as_str().unwrap())
            .collect();
        names.join(" ")
    };
    assert_eq!(names(0), "decompress secrets count");
    assert_eq!(names(2), "xz secrets count");
    let text = document.to_string();
    assert!(text.contains(SECRETS_FILE), "the scanner found nothing: {text}");
    let inspected = run([
        "inspect".as_ref(),
        sample.layout.as_os_str(),
        "--plugin".as_ref(),
        xz.as_ref(),
    ])
    .ok();
    assert!(inspected.contains("stages  xz (wasm)"), "{inspected}");
}

#[test]
fn a_refused_layer_leaves_nothing() {
    let (Some(xz), Some(secrets)) = (built("xz"), built("secrets")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let sample = small(folder.path());
    let target = folder.path().join("root");
    let flags = [
        "--plugin",
        &xz,
        "--plugin",
        &secrets,
        "--plugin-config",
        "secrets.refuse=true",
    ];
    unpack(&sample.layout, &target, &flags).fails(REFUSED, &["secrets refused the layer"]);
    assert!(!target.exists());
    let fails = |config, text| {
        let flags = ["--plugin", &xz, "--plugin", &secrets, "--plugin-config", config];
        unpack(&sample.layout, &target, &flags).fails(USAGE, &[text]);
    };
    fails("secrets.refuse=perhaps", "refuse");
    fails("secrets.colour=red", "colour");
    fails("other.refuse=true", "no such plugin");
    fails("refuse", "NAME.KEY=VALUE");
}

#[test]
fn a_plugin_is_inspected_and_run() {
    let Some(xz) = built("xz") else { return };
    let text = run(["plugin", "inspect", &xz]).ok();
    for part in [
        "imports   transom:common/io",
        "exports   transom:processor/stage",
        "name      xz",
        LAYER_TAR_XZ,
        "memory_mib",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let document = run(["plugin", "inspect", &xz, "--json"]).json();
    assert_eq!(document["name"], "xz");
    assert!(
        document["component"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert!(document["problem"].is_null());
    assert!(document["converts"].to_string().contains(LAYER_TAR_XZ));

    let plain = b"some text, again and again; ".repeat(20_000);
    let packed = Compression::Xz.compress(&plain).unwrap();
    let done = pass(&[&xz], &packed);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout == plain);
    assert!(
        done.stderr.contains("xz") && done.stderr.contains("(wasm"),
        "{}",
        done.stderr
    );
    let done = pass(&[&xz, "--json", "--config", "memory_mib=64"], &packed);
    let report: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
    assert_eq!(
        (&report["bytesIn"], &report["bytesOut"]),
        (&packed.len().into(), &plain.len().into())
    );

    pass(&[&xz], b"this is not xz").fails(DAMAGED, &["xz"]);
    pass(&[&xz], &packed[..packed.len() / 2]).fails(DAMAGED, &["xz"]);
    pass(&[&xz, "--media-type", "a/b"], b"").fails(USAGE, &["does not accept a/b"]);
    pass(&[&xz, "--config", "unknown=1"], b"").fails(USAGE, &["unknown"]);
}

/// A test guest as a plugin's folder, with a limit on how long it may compute without reading or writing.
fn folder_of(place: &Path, name: &str, limits: &str) -> PathBuf {
    let folder = place.join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("guest.wasm"), guest(name)).unwrap();
    let manifest = format!(
        "name = \"guest\"\nversion = \"0.1.0\"\nkind = \"processor\"\nworld = \"transom:processor/processor@0.1.0\"\n\
         converts = [{{ accepts = \"{LAYER_TAR}\", returns = \"{LAYER_TAR}\" }}]\n\n[limits]\n{limits}\n"
    );
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    folder
}

#[test]
fn plugins_that_misbehave_end_within_their_limits_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = RawImage::plain(&folder.path().join("image"));
    let target = folder.path().join("root");
    let cases: [(&str, &str, i32, &[&str]); 5] = [
        (
            "loop",
            "stall_seconds = 1",
            LIMIT,
            &["computed for 1 s without reading or writing"],
        ),
        (
            "allocate",
            "memory_mib = 16",
            LIMIT,
            &["more than 16777216 bytes of memory"],
        ),
        ("recurse", "", LIMIT, &["stack overflowed"]),
        ("trap", "", OTHER, &["it crashed"]),
        ("garbage-pointer", "", OTHER, &["plugin guest 0.1.0"]),
    ];
    for (name, limits, code, texts) in cases {
        let plugin = folder_of(folder.path(), name, limits);
        let done = unpack(&image.layout, &target, &["--plugin", plugin.to_str().unwrap()]);
        done.fails(code, texts);
        assert!(!target.exists(), "{name}");
    }
    let pass = folder_of(folder.path(), "pass", "");
    unpack(&image.layout, &target, &["--plugin", pass.to_str().unwrap()]).ok();
}

#[test]
fn what_is_no_plugin_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let image = RawImage::plain(&folder.path().join("image"));
    let target = folder.path().join("root");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let cut = guest("pass");
    let cases: [(PathBuf, i32, &[&str]); 6] = [
        (file("text", b"not wasm"), DAMAGED, &["text", "no WebAssembly"]),
        (
            file("module", b"\0asm\x01\0\0\0"),
            DAMAGED,
            &["core module, not a component"],
        ),
        (
            file("cut", &cut[..cut.len() - 1]),
            DAMAGED,
            &["not a valid component"],
        ),
        (file("spy", &spy()), REFUSED, &["evil:net/sockets", "may not use"]),
        (folder.path().join("absent"), NOT_FOUND, &["absent"]),
        (folder.path().join("image"), NOT_FOUND, &["plugin.toml"]),
    ];
    for (path, code, texts) in cases {
        unpack(&image.layout, &target, &["--plugin", path.to_str().unwrap()]).fails(code, texts);
        assert!(!target.exists());
    }
    let inspected = run(["plugin", "inspect", folder.path().join("spy").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&inspected.stdout).contains("evil:net/sockets"));
    inspected.fails(REFUSED, &["would not be loaded"]);
}
