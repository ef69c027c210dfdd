//! containerd's own suite for content stores, through its own Go client (`tests/compat/content`), against the real program.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use transom_tests::needs::{require_library, require_program, target_dir, workspace_dir};

use crate::program::Program;

/// Builds the suite once; nothing if Go or containerd's sources are missing, the test is then skipped.
fn suite() -> Option<PathBuf> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let go = require_program("go")?;
    if !require_library("golang-github-containerd-containerd-dev") {
        return None;
    }
    let built = BUILT.get_or_init(|| {
        let folder = target_dir().join("compat");
        std::fs::create_dir_all(&folder).expect("a folder under target");
        let program = folder.join("content-suite");
        // By path, without modules: Debian's packages put the sources under one root, and nothing may be downloaded.
        let output = Command::new(go)
            .args(["test", "-c", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(workspace_dir().join("tests/compat/content"))
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", folder.join("go-cache"))
            .env("GOFLAGS", "")
            .output()
            .expect("go runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        program
    });
    Some(built.clone())
}

/// Runs it against a fresh daemon: it takes its contents from a fixed seed, so they must not be there yet.
fn run(policy: &str, tests: usize) {
    let Some(suite) = suite() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.toml");
    std::fs::write(&config, format!("[metadata]\nsharing = {policy:?}\n")).expect("a file");
    let config = config.to_str().expect("text").to_owned();
    let program = Program::in_folder(folder, &["--config", &config]);
    let output = Command::new(suite)
        .arg("-test.v")
        .env("SUITE_SOCKET", program.socket())
        .env("SUITE_POLICY", policy)
        .output()
        .expect("the suite runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let passed = text
        .lines()
        .filter(|line| line.starts_with("    --- PASS"))
        .count();
    assert_eq!(passed, tests, "{text}");
}

#[test]
fn content_is_shared_between_namespaces() {
    run("shared", 14);
}

#[test]
fn content_is_isolated_between_namespaces() {
    run("isolated", 13);
}
