//! A released version of an interface is frozen: the rule of `wit/README.md`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use transom_oci::{Algorithm, Digest};

/// Every file that was ever released. Lines may be added here, never changed or removed: plugins in the field were built
/// against these very texts.
const RELEASED: [(&str, &str); 4] = [
    (
        "common-0.1.0/io.wit",
        "41f3172722e6020fd752ede17f24b1d9d8e77f85675c188102df59116d21fa37",
    ),
    (
        "common-0.1.0/log.wit",
        "759dd73035a8ff63cfb776d821ff59a635faead28446889c0e8f7c88a72348c2",
    ),
    (
        "common-0.1.0/types.wit",
        "144181ef3b1051aa2fa48e942782b610e02af82414a2f81e77173eed6610ad9c",
    ),
    (
        "processor-0.1.0/processor.wit",
        "044331501f6e8e237523aa0ca2de031d1e1d2f26fca6aa33f9c5c11b6b93a850",
    ),
];

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

fn digest(path: &Path) -> String {
    Digest::of(
        Algorithm::Sha256,
        &fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
    .hex()
    .to_owned()
}

/// The files in the folders of a folder, by their relative paths.
fn files(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for folder in fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            files.push(file.strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }
    files.sort();
    files
}

#[test]
fn released_files_are_as_they_were() {
    for (file, expected) in RELEASED {
        assert_eq!(
            digest(&wit().join("released").join(file)),
            expected,
            "{file} was released and must not change"
        );
    }
}

#[test]
fn the_list_of_digests_names_exactly_what_is_there() {
    let text = fs::read_to_string(wit().join("released/SHA256SUMS")).unwrap();
    let listed: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, file)| (file, digest))
        .collect();
    let there = files(&wit().join("released"));
    assert_eq!(
        listed.keys().map(|file| (*file).to_owned()).collect::<Vec<_>>(),
        there
    );
    for (file, expected) in &listed {
        assert_eq!(digest(&wit().join("released").join(file)), *expected, "{file}");
    }
    for (file, expected) in RELEASED {
        assert_eq!(listed.get(file), Some(&expected), "{file} was taken off the list");
    }
}

#[test]
fn what_carries_a_released_version_is_the_released_text() {
    for package in ["common", "processor", "filter"] {
        let texts: Vec<(String, String)> = files(&wit())
            .into_iter()
            .filter(|file| file.starts_with(&format!("{package}/")))
            .map(|file| (file.clone(), fs::read_to_string(wit().join(file)).unwrap()))
            .collect();
        let named = format!("package transom:{package}@");
        let version = texts
            .iter()
            .find_map(|(_, text)| {
                text.lines()
                    .find_map(|line| line.strip_prefix(&named)?.strip_suffix(';'))
            })
            .expect("one file names the package");
        let released = wit().join(format!("released/{package}-{version}"));
        if !released.is_dir() {
            continue;
        }
        for (file, text) in &texts {
            let name = Path::new(file).file_name().unwrap();
            let frozen = fs::read_to_string(released.join(name)).unwrap_or_default();
            assert!(
                *text == frozen,
                "{file} says version {version}, which was released with another text"
            );
        }
    }
}
