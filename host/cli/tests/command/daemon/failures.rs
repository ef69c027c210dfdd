//! No daemon, no sense, no such thing: what is said and how it ends.

use std::os::unix::net::UnixListener;
use std::path::Path;

use super::rig::{Rig, on_both};
use crate::support::{Done, NOT_FOUND, UNAVAILABLE, USAGE, run, transom};

on_both!(
    an_unknown_thing_is_not_found,
    a_bad_filter_is_a_usage_error,
    failures_are_documents_too
);

fn at(socket: &Path, arguments: &[&str]) -> Done {
    let mut command = transom(["--address"]);
    command.arg(socket).args(arguments).output().unwrap().into()
}

#[test]
fn without_a_daemon_it_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    for arguments in [
        ["content", "ls"],
        ["image", "ls"],
        ["lease", "ls"],
        ["ns", "ls"],
        ["gc", "run"],
        ["plugin", "ls"],
    ] {
        let texts = [socket.to_str().unwrap(), "transomd", "--address", "--root"];
        at(&socket, &arguments).fails(UNAVAILABLE, &texts);
    }
    drop(UnixListener::bind(&socket).unwrap());
    at(&socket, &["events"]).fails(UNAVAILABLE, &[socket.to_str().unwrap(), "has ended"]);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    at(&file, &["content", "ls"]).fails(UNAVAILABLE, &[file.to_str().unwrap()]);
}

#[test]
fn what_is_no_daemon_is_said_too() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("strange.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let thread = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mail.example.org ready\r\n").unwrap();
    });
    let done = at(&socket, &["content", "ls"]);
    thread.join().unwrap();
    assert_ne!(done.code, Some(0));
    assert!(
        done.stderr.starts_with("transom: ") && !done.stderr.contains("panicked"),
        "{}",
        done.stderr
    );
}

#[test]
fn the_version_of_the_command_is_said_without_a_daemon() {
    let done = at(Path::new("/nonexistent.sock"), &["version"]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(
        said,
        format!("Client:\n  Version:  {}\n", env!("CARGO_PKG_VERSION"))
    );
    done.fails(UNAVAILABLE, &["/nonexistent.sock"]);
}

#[test]
fn the_environment_names_the_socket() {
    for (variable, other) in [
        ("TRANSOM_ADDRESS", "CONTAINERD_ADDRESS"),
        ("CONTAINERD_ADDRESS", "TRANSOM_ADDRESS"),
    ] {
        let mut command = transom(["image", "ls"]);
        command.env_remove(other).env(variable, "/named/by/environment");
        let done = Done::from(command.output().unwrap());
        done.fails(UNAVAILABLE, &["/named/by/environment"]);
    }
}

#[test]
fn a_folder_has_no_daemons_things() {
    for line in [
        "--root /tmp image ls",
        "--root /tmp lease ls",
        "--root /tmp gc run",
        "--root /tmp events",
        "--root /tmp version",
        "--root /tmp content label sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "--root /tmp content prune references",
        "--root /tmp content ls labels.a",
        "--root /tmp content ingest r --lease l",
        "--root /tmp --address /a content ls",
        "--root /tmp content --address /a ls",
    ] {
        run(line.split_whitespace()).fails(USAGE, &["--root"]);
    }
}

fn an_unknown_thing_is_not_found(rig: &Rig) {
    let digest = format!("sha256:{}", "0".repeat(64));
    for arguments in [
        vec!["content", "get", &digest],
        vec!["content", "label", &digest],
        vec!["content", "edit", &digest, "--editor", "true"],
        vec!["content", "rm", &digest],
        vec!["content", "abort", "none"],
        vec!["image", "get", "none"],
        vec!["image", "inspect", "none"],
        vec!["image", "label", "none", "a=b"],
        vec!["image", "tag", "none", "other"],
        vec!["image", "rm", "none"],
        vec!["lease", "rm", "none"],
        vec!["lease", "resources", "ls", "none"],
        vec!["namespace", "rm", "none"],
    ] {
        let done = rig.run(&arguments);
        assert!(done.stdout.is_empty(), "{arguments:?}");
        done.fails(NOT_FOUND, &["not found"]);
    }
}

fn a_bad_filter_is_a_usage_error(rig: &Rig) {
    for arguments in [
        ["content", "ls", "a=b"],
        ["image", "ls", "a=b"],
        ["lease", "ls", "a=b"],
        ["image", "check", "a=b"],
    ] {
        rig.run(&arguments)
            .fails(USAGE, &["[a >|=|< b]: unsupported operator"]);
    }
    rig.run(&["content", "active", "ref==,"])
        .fails(USAGE, &["parse error"]);
}

fn failures_are_documents_too(rig: &Rig) {
    let done = rig.run(&["--json", "image", "get", "none"]);
    assert_eq!(done.code, Some(NOT_FOUND));
    let said: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
    let want = serde_json::json!({ "kind": "not-found", "message": "image \"none\": not found" });
    assert_eq!(said["error"], want);
}
