//! A registry by the command: served, spoken to, stopped, cleaned.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::driver::KEY;
use crate::support::{UNAVAILABLE, USAGE, run};

/// The blob of no bytes.
pub(crate) const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a registry answers to a request without a body, until it closes.
pub(crate) fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_registry_is_served_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["--json", "registry", "serve", "--listen", "127.0.0.1:0"])
        .args(["--metrics-listen", "127.0.0.1:0", "--no-delete", "--storage"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let served: Value = serde_json::from_str(&line).unwrap();
    let address = served["address"].as_str().unwrap();
    assert!(ask(address, "GET /v2/").starts_with("HTTP/1.1 200"));
    let made = ask(address, &format!("POST /v2/a/blobs/uploads/?digest={EMPTY}"));
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let refused = ask(address, &format!("DELETE /v2/a/blobs/{EMPTY}"));
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");
    let operators = served["metrics"].as_str().unwrap();
    assert!(ask(operators, "GET /metrics").contains("registry_http_requests_total"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("serving") && log.contains("path=\"/v2/\""), "{log}");
    // All of it is young.
    let storage = folder.path().to_str().unwrap();
    let collected = run(["--json", "registry", "gc", "--dry-run", "--storage", storage]).json();
    assert_eq!(
        (&collected["blobs"], &collected["deleted_blobs"]),
        (&1.into(), &0.into())
    );
    let text = run(["registry", "gc", "--storage", storage, "--untagged-after", "1h"]).ok();
    assert!(text.starts_with("deleted 0 blobs of 0 bytes"), "{text}");
}

#[test]
fn mistakes_in_a_configuration_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registry.toml");
    let path = file.to_str().unwrap();
    fs::write(&file, "[storage]\ndriver = \"inmemory\"\n").unwrap();
    assert!(
        run(["registry", "check", path])
            .ok()
            .ends_with("registry.toml: good\n")
    );
    fs::write(&file, "[storage]\ndriver = \"inmemory\"\n[http]\nlisen = \"x\"\n").unwrap();
    for command in ["check", "serve"] {
        let arguments = match command {
            "check" => vec!["registry", "check", path],
            _ => vec!["registry", "serve", "--config", path],
        };
        run(arguments).fails(USAGE, &["line 4", "`lisen`", "did you mean `listen`?"]);
    }
    fs::write(&file, "[storage]\ndriver = \"inmemry\"\n").unwrap();
    run(["registry", "serve", "--config", path]).fails(USAGE, &["did you mean \"inmemory\"?"]);
}

/// What is in a folder and below it, file by file.
fn files(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(std::fs::read(&path).unwrap()),
        }
    }
    found
}

#[test]
fn a_registry_stands_on_plugins() {
    let Some(plugin) = transom_tests::plugin("encrypt") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (config, store) = (folder.path().join("registry.toml"), folder.path().join("store"));
    fs::write(&config, format!("[storage]\ndriver = \"encrypt\"\nmasterkeys = \"{KEY}\"\n[storage.inner]\ndriver = \"filesystem\"\nrootdirectory = {store:?}\n")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args([
            "--json",
            "registry",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--plugin",
        ])
        .arg(&plugin)
        .arg("--config")
        .arg(&config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let served: Value = serde_json::from_str(&line).unwrap();
    let address = served["address"].as_str().unwrap();
    let secret = "nobody reads this on the disk";
    let digest = transom_oci::Digest::of(transom_oci::Algorithm::Sha256, secret.as_bytes());
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{secret}",
        secret.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(ask(address, &format!("GET /v2/a/blobs/{digest}")).ends_with(secret));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let kept = files(&store);
    let readable = |file: &Vec<u8>| file.windows(6).any(|part| part == b"nobody");
    assert!(!kept.is_empty() && !kept.iter().any(readable));
}

#[test]
fn an_index_is_built_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let storage = folder.path().to_str().unwrap();
    let tag = folder
        .path()
        .join("docker/registry/v2/repositories/a/b/_manifests/tags/v1/current");
    std::fs::create_dir_all(&tag).unwrap();
    fs::write(tag.join("link"), format!("sha256:{}", "0".repeat(64))).unwrap();
    let built = run(["--json", "registry", "reindex", "--storage", storage]).json();
    assert_eq!(
        (&built["repositories"], &built["tags"]),
        (&1.into(), &1.into()),
        "{built}"
    );
    assert!(built["folder"].as_str().unwrap().ends_with("~index"), "{built}");
    let text = run(["registry", "reindex", "--storage", storage]).ok();
    assert!(
        text.contains("1 repositories with 1 tags; 0 manifests read"),
        "{text}"
    );
    let compared = run(["--json", "registry", "reindex", "--check", "--storage", storage]).json();
    assert_eq!(
        (&compared["tags"], &compared["wrong"]),
        (&1.into(), &serde_json::json!([]))
    );
    // The top folder, the one on the way, the repository, and its tags.
    let number = |name: &str| compared[name].as_u64().unwrap();
    assert_eq!(number("proved") + number("unproved"), 4, "{compared}");
    let text = run(["registry", "reindex", "--check", "--storage", storage]).ok();
    assert!(text.ends_with("0 are wrong\n"), "{text}");

    let config = folder.path().join("registry.toml");
    let driver = format!("[storage]\ndriver = \"filesystem\"\nrootdirectory = {storage:?}\n");
    fs::write(&config, format!("{driver}[index]\nenabled = false\n")).unwrap();
    let path = config.to_str().unwrap();
    run(["registry", "reindex", "--config", path]).fails(USAGE, &["has no index"]);

    // Who serves with it must see every change: it is open before the first request.
    fs::write(
        &config,
        format!("{driver}[index]\nonly_writer = true\n[metrics]\nlisten = \"127.0.0.1:1\"\n"),
    )
    .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["--json", "registry", "serve", "--listen", "127.0.0.1:0"])
        .args(["--metrics-listen", "127.0.0.1:0", "--config", path])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let served: Value = serde_json::from_str(&line).unwrap();
    run(["registry", "reindex", "--config", path]).fails(
        UNAVAILABLE,
        &["stop it first", "curl -X POST http://127.0.0.1:1/reindex"],
    );
    let begun = ask(served["metrics"].as_str().unwrap(), "POST /reindex");
    assert!(begun.starts_with("HTTP/1.1 202"), "{begun}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
