//! Plugins as artifacts, carried by another tool: ORAS's client in Python, with our registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use transom_tests::needs::oras_client;

use crate::distribution::plugin;
use crate::serving::Serving;
use crate::support::run;

/// Runs the client in a folder and gives what it prints; `None` if it is not installed.
fn oras(folder: &Path, arguments: &[&str]) -> Option<String> {
    let (python, program) = oras_client()?;
    let ran = Command::new(python)
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        // Nobody's logins.
        .env("HOME", folder)
        .env_remove("DOCKER_CONFIG")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(String::from_utf8(ran.stdout).unwrap())
}

#[test]
fn oras_pulls_what_we_push() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::files(&folder.path().join("storage"));
    let name = format!("{}/plugins/guest", serving.address);
    let ours = plugin(folder.path(), "0.3.0");
    run(["plugin", "push", "--plain-http", &ours, &name]).ok();
    let Some(pulled) = oras(folder.path(), &["pull", &format!("{name}:0.3.0"), "theirs"]) else {
        return;
    };
    assert!(pulled.trim().ends_with("theirs/guest.wasm"), "{pulled}");
    let theirs = folder.path().join("theirs/guest.wasm");
    let packaged = folder.path().join("packaged.wasm");
    run(["plugin", "package", &ours, packaged.to_str().unwrap()]).ok();
    assert!(fs::read(&theirs).unwrap() == fs::read(&packaged).unwrap());
    // One file has all of it: it is a plugin as it lies there.
    let inspected = run(["--json", "plugin", "inspect", theirs.to_str().unwrap()]).json();
    assert_eq!(inspected["version"], "0.3.0", "{inspected}");
}

#[test]
fn we_pull_and_install_what_oras_pushes_in_the_layout_of_the_cncf() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::files(&folder.path().join("storage"));
    let name = format!("{}/plugins/guest", serving.address);
    let packaged = folder.path().join("guest.wasm");
    run([
        "plugin",
        "package",
        &plugin(folder.path(), "0.4.0"),
        packaged.to_str().unwrap(),
    ])
    .ok();
    let component = fs::read(&packaged).unwrap();
    let digest = transom_oci::Digest::of(transom_oci::Algorithm::Sha256, &component);
    let config = json!({
        "created": "2026-01-01T00:00:00Z",
        "author": "somebody",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [digest.to_string()],
        "component": { "exports": ["transom:processor/stage@0.1.0"], "imports": [] }
    });
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let push = [
        "push",
        &format!("{name}:0.4.0"),
        "config.json:application/vnd.wasm.config.v0+json",
        "guest.wasm:application/wasm",
    ];
    let Some(pushed) = oras(folder.path(), &push) else {
        return;
    };
    assert_eq!(pushed.trim(), "201");
    let pulled = folder.path().join("pulled.wasm");
    // The newest that runs here: the version is the tag's, and the configuration is looked at first.
    run(["plugin", "pull", "--plain-http", &name, pulled.to_str().unwrap()]).ok();
    assert!(fs::read(&pulled).unwrap() == component);
    let installed = folder.path().join("installed");
    let installed = installed.to_str().unwrap();
    let install = ["plugin", "install", "--plain-http", "--plugins", installed, &name];
    let done = run([&["--json"], &install[..]].concat()).json();
    assert_eq!(done["version"], "0.4.0", "{done}");
}
