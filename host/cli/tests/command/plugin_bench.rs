//! `transom plugin bench`, and `run --watch`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;
use transom_oci::media_type::LAYER_TAR;
use transom_tests::sample::Compression;

use crate::guests::guest;
use crate::support::{INTERRUPTED, NOT_FOUND, REFUSED, USAGE, finish, run, signal, transom};

/// A test guest as a plugin's folder.
fn plugin(place: &Path, name: &str) -> PathBuf {
    let folder = place.join("plugin");
    fs::create_dir_all(&folder).unwrap();
    let manifest = format!(
        "name = \"guest\"\nversion = \"0.1.0\"\nkind = \"processor\"\nworld = \"transom:processor/processor@0.1.0\"\n\
         converts = [{{ accepts = \"{LAYER_TAR}\", returns = \"{LAYER_TAR}\" }}]\n"
    );
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    put(&folder, name);
    folder
}

/// Replaces the component in one step, as a build does.
fn put(folder: &Path, name: &str) {
    let new = folder.join("new");
    fs::write(&new, guest(name)).unwrap();
    fs::rename(new, folder.join("guest.wasm")).unwrap();
}

#[test]
fn a_processor_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugin(folder.path(), "pass");
    let plugin = plugin.to_str().unwrap();
    let small = ["plugin", "bench", plugin, "--size", "1M", "--rounds", "2"];
    let measured = run(["--json"].iter().chain(&small)).json();
    let number = |key: &str| measured[key].as_f64().unwrap();
    assert_eq!(measured["name"], "guest");
    assert_eq!(number("bytesIn"), number("bytesOut"));
    assert!(number("bytesIn") > 1e6);
    assert_eq!(number("chunkBytes"), 65536.0);
    assert_eq!(number("chunks"), (number("bytesIn") / 65536.0).ceil());
    for key in [
        "bytesPerSecond",
        "copyBytesPerSecond",
        "cpuSecondsPerMegabyte",
        "startSeconds",
        "wallSeconds",
    ] {
        assert!(number(key) > 0.0, "{key}: {measured}");
    }
    // The guest's memory is at least a page.
    assert!(number("memoryBytes") >= 65536.0, "{measured}");
    let text = run(small).ok();
    for part in [
        "guest 0.1.0  sha256:",
        "rate  ",
        "% of a bare copy",
        "per MB",
        "per chunk",
        "start",
        "memory",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    run(["plugin", "bench", plugin, "--chunk", "0"]).fails(USAGE, &["--chunk"]);
    run(["plugin", "bench", "/absent"]).fails(NOT_FOUND, &["/absent"]);
}

#[test]
fn a_decompressor_is_measured_on_a_file() {
    let Some(xz) = transom_tests::plugin("xz") else {
        return;
    };
    let xz = xz.parent().unwrap().to_str().unwrap();
    run(["plugin", "bench", xz]).fails(USAGE, &["--input FILE"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layer.tar.xz");
    let plain = b"again and again; ".repeat(60_000);
    fs::write(&file, Compression::Xz.compress(&plain).unwrap()).unwrap();
    let input = file.to_str().unwrap();
    let flags = ["plugin", "bench", xz, "--input", input, "--rounds", "1", "--json"];
    let measured = run(flags).json();
    assert_eq!(measured["bytesOut"], plain.len());
    run(["plugin", "bench", xz, "--input", "/absent"]).fails(NOT_FOUND, &["/absent"]);
}

#[test]
fn a_plugin_that_refuses_is_not_measured() {
    let Some(secrets) = transom_tests::plugin("secrets") else {
        return;
    };
    let secrets = secrets.parent().unwrap().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layer.tar");
    let key = b"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78L\n";
    fs::write(&file, crate::image::Tar::new().file("root/id_rsa", key).end()).unwrap();
    let input = file.to_str().unwrap();
    let flags = [
        "plugin",
        "bench",
        secrets,
        "--input",
        input,
        "--config",
        "refuse=true",
    ];
    run(flags).fails(REFUSED, &["refused the layer"]);
}

#[test]
fn a_watched_plugin_runs_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugin(folder.path(), "pass");
    let mut child = transom(["plugin", "run", "--watch"])
        .arg(&plugin)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"twelve bytes").unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut until = |wanted: &str| {
        let mut seen = String::new();
        while !seen.contains(wanted) {
            let read = said.read_line(&mut seen).unwrap();
            assert!(read > 0, "it has ended: {seen}");
        }
        seen
    };
    let first = until("waiting for a change");
    assert!(first.contains("12 B > 12 B"), "{first}");
    put(&plugin, "trap");
    let second = until("waiting for a change");
    assert!(second.contains("it crashed"), "{second}");
    put(&plugin, "pass");
    until("waiting for a change");
    signal(&child, Signal::INT);
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(output, "twelve bytestwelve bytes");
    assert_eq!(finish(child).code, Some(INTERRUPTED));
}
