//! What is published must build by itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

#[test]
fn the_interfaces_are_in_the_package() {
    let list = Command::new(env!("CARGO"))
        .args(["package", "--list", "--offline", "--allow-dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&list.stderr).into_owned();
    assert!(list.status.success(), "{said}");
    let files = String::from_utf8(list.stdout).unwrap();
    for file in [
        "CHANGELOG.md",
        "README.md",
        "wit/common/io.wit",
        "wit/processor/processor.wit",
        "wit/filter/filter.wit",
        "wit/storage/storage.wit",
    ] {
        assert!(
            files.lines().any(|line| line == file),
            "{file} is not in it: {files}"
        );
    }
}
