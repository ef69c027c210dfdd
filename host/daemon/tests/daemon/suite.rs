//! containerd's own suites for content stores and snapshotters, through its own Go client (`tests/compat`), against the real program.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use transom_tests::needs::{require_library, require_program, require_root, target_dir, workspace_dir};

use crate::program::Program;

/// Builds a suite once; nothing if Go or containerd's sources are missing, the test is then skipped.
fn suite(name: &str, built: &OnceLock<PathBuf>) -> Option<PathBuf> {
    let go = require_program("go")?;
    if !require_library("golang-github-containerd-containerd-dev") {
        return None;
    }
    let built = built.get_or_init(|| {
        let folder = target_dir().join("compat");
        std::fs::create_dir_all(&folder).expect("a folder under target");
        let program = folder.join(format!("{name}-suite"));
        // By path, without modules: Debian's packages put the sources under one root, and nothing may be downloaded.
        let output = Command::new(go)
            .args(["test", "-c", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(workspace_dir().join("tests/compat").join(name))
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

/// The subtests that passed, and those that were skipped.
#[track_caller]
fn passed(output: &std::process::Output) -> (usize, usize) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    (count("    --- PASS"), count("    --- SKIP"))
}

/// Runs it against a fresh daemon: it takes its contents from a fixed seed, so they must not be there yet.
fn run(policy: &str, tests: usize) {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let Some(suite) = suite("content", &BUILT) else {
        return;
    };
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
    assert_eq!(passed(&output), (tests, 0));
}

/// Runs that of a snapshotter, which mounts what it is given.
fn run_snapshots(snapshotter: &str) {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if !require_root() {
        return;
    }
    let Some(suite) = suite("snapshots", &BUILT) else {
        return;
    };
    let program = Program::start(&[]);
    let output = Command::new(suite)
        .args(["-test.v", "-test.root"])
        .env("SUITE_SOCKET", program.socket())
        .env("SUITE_SNAPSHOTTER", snapshotter)
        .env("TMPDIR", program.folder.path())
        .output()
        .expect("the suite runs");
    // The suite of Debian's release does not try renames on kernels that are newer than it.
    let (passed, skipped) = passed(&output);
    assert_eq!(passed + skipped, 21, "{output:?}");
    assert!(skipped <= 1, "{output:?}");
}

#[test]
fn content_is_shared_between_namespaces() {
    run("shared", 14);
}

#[test]
fn content_is_isolated_between_namespaces() {
    run("isolated", 13);
}

#[test]
fn snapshots_of_overlayfs() {
    run_snapshots("overlayfs");
}

#[test]
fn snapshots_of_native() {
    run_snapshots("native");
}
