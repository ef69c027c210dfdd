//! A client in Python, by Debian's grpcio (`tests/compat/python`), against the real program.

use std::process::Command;

use transom_tests::needs::{require_library, workspace_dir};

use crate::program::{Program, good};

/// The interpreter that Debian's packages are for; there may be others on the path.
const PYTHON: &str = "/usr/bin/python3";

#[test]
fn a_client_in_python_is_served() {
    if !require_library("python3-grpcio") {
        return;
    }
    let program = Program::start(&[]);
    let descriptors = program.folder.path().join("descriptors");
    std::fs::write(&descriptors, transom_api::descriptors()).expect("a file");
    let client = workspace_dir().join("tests/compat/python/client.py");
    let output = Command::new(PYTHON)
        .arg(client)
        .arg(program.socket())
        .arg(descriptors)
        .output()
        .expect("Python runs");
    assert_eq!(good(&output), "all good\n");
}
