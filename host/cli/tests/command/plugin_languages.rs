//! `transom plugin new`, `build` and `test` in other languages than Rust.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Done, NOT_FOUND, OTHER, USAGE, run, transom};

const KINDS: [&str; 3] = ["processor", "filter", "storage"];

/// Runs the command where it finds the compilers.
fn run_with(compilers: &[PathBuf], arguments: &[&str]) -> Done {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = compilers.iter().cloned().chain(env::split_paths(&path));
    let path: OsString = env::join_paths(folders).unwrap();
    transom(arguments).env("PATH", path).output().unwrap().into()
}

fn make(folder: &Path, language: &str, kind: &str) -> String {
    let place = folder.join(format!("{language}-{kind}")).display().to_string();
    run([
        "plugin", "new", "my-first", &place, "--kind", kind, "--lang", language,
    ])
    .ok();
    place
}

/// Makes a plugin of a kind, builds it and runs its tests. It may import what is Transom's, and nothing else.
fn hold(compilers: &[PathBuf], folder: &Path, language: &str, kind: &str) {
    let place = make(folder, language, kind);
    run_with(compilers, &["plugin", "build", &place]).ok();
    let tested = run(["plugin", "test", &place]).ok();
    assert!(!tested.is_empty() && !tested.contains("FAILED"), "{tested}");
    let checked = run([
        "plugin",
        "check",
        &format!("{place}/target/plugin/my-first"),
        "--json",
    ])
    .json();
    assert_eq!(checked["ok"], true, "{checked}");
    assert_eq!(checked["name"], "my-first");
    let imports = checked["component"]["imports"].as_array().unwrap();
    let is_ours = |name: &serde_json::Value| name.as_str().unwrap().starts_with("transom:");
    assert!(imports.iter().all(is_ours), "{imports:?}");
}

#[test]
fn a_new_plugin_in_c_passes_its_own_tests() {
    let Some(compilers) = transom_tests::compilers() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        hold(&compilers, folder.path(), "c", kind);
    }
}

#[test]
fn a_new_plugin_in_javascript_passes_its_own_tests() {
    let Some(compilers) = transom_tests::compilers() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        hold(&compilers, folder.path(), "js", kind);
    }
}

// CPython is compiled anew for each plugin, which takes a while: a processor is held to its cases in `plugins/licences`.

#[test]
fn a_new_filter_in_python_passes_its_own_tests() {
    let Some(compilers) = transom_tests::compilers() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    hold(&compilers, folder.path(), "python", "filter");
}

#[test]
fn a_new_driver_in_python_passes_the_conformance_suite() {
    let Some(compilers) = transom_tests::compilers() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    hold(&compilers, folder.path(), "python", "storage");
}

/// A libc thinks that it is on WASI. What it finds of it is inside the component.
#[test]
fn what_a_libc_wants_of_wasi_stays_in_the_component() {
    let Some(compilers) = transom_tests::compilers() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let place = make(folder.path(), "c", "processor");
    let source = "#include <stdio.h>\n#include <stdlib.h>\n#include <time.h>\n#include \"processor.h\"\n\
        bool plugin_run(const transom_job *job, transom_input *input, transom_output *output, transom_outcome *outcome) {\n\
        (void)job; (void)input; (void)output; (void)outcome;\n\
        printf(\"a line for the log\\n\");\n\
        if (fopen(\"/etc/passwd\", \"r\") != NULL || getenv(\"PATH\") != NULL || time(NULL) > 0) { exit(3); }\n\
        return transom_fail(\"there is nothing here\");\n}\n";
    fs::write(format!("{place}/src/plugin.c"), source).unwrap();
    fs::remove_file(format!("{place}/cases/two-files/expect.toml")).unwrap();
    fs::write(
        format!("{place}/cases/two-files/error.txt"),
        "there is nothing here",
    )
    .unwrap();
    run_with(&compilers, &["plugin", "build", &place]).ok();
    let tested = run(["--log-level", "info", "plugin", "test", &place]);
    assert!(tested.stderr.contains("a line for the log"), "{}", tested.stderr);
    tested.ok();
}

#[test]
fn a_build_that_cannot_be_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    for (language, advice) in [
        ("c", "clang-14"),
        ("js", "npm install"),
        ("python", "pip install componentize-py"),
    ] {
        let place = make(folder.path(), language, "filter");
        let done = transom(["plugin", "build", &place])
            .env("PATH", "")
            .output()
            .unwrap();
        Done::from(done).fails(NOT_FOUND, &[advice]);
    }
    let new = folder.path().join("new").display().to_string();
    run(["plugin", "new", "x", &new, "--lang", "c", "--sdk", "."]).fails(USAGE, &["--sdk is for Rust"]);
    let Some(compilers) = transom_tests::compilers() else {
        return;
    };
    let place = folder.path().join("c-filter").display().to_string();
    fs::write(format!("{place}/src/plugin.c"), "bool nonsense = ;").unwrap();
    run_with(&compilers, &["plugin", "build", &place]).fails(OTHER, &["clang", "plugin.c:1"]);
}
