//! The first-party label filters, built as components, in the real host: every folder in `plugins/<name>/cases` is a test.
//!
//! `case.toml` has `[[record]]`s and `[[check]]`s: an expression, and the names of the records that it selects or what the
//! error must contain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use transom_meta::Labels;
use transom_meta::filter::{Filters, Plugins};
use transom_meta::policy::Judged;
use transom_plugin::filter::cases::Case;
use transom_plugin::manifest::PluginKind;
use transom_plugin::{FilterSet, Host, HostConfig, Manifest};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders of the filters in `plugins/` that can be run: what is not in Rust needs a compiler that may not be there.
fn folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace().join("plugins")).unwrap();
    let is_here = |folder: &PathBuf| {
        let name = folder.file_name().unwrap().to_string_lossy();
        folder.join("Cargo.toml").is_file() || transom_tests::plugin(&name).is_some()
    };
    let is_filter = |folder: &PathBuf| {
        let path = folder.join("plugin.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        Manifest::parse(&text, &path).unwrap().kind == PluginKind::Filter
    };
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(is_filter)
        .filter(is_here)
        .collect();
    folders.sort();
    folders
}

static PLUGINS: LazyLock<Plugins> = LazyLock::new(|| {
    let built = std::env::var_os("TRANSOM_PLUGINS");
    let built = built.map_or_else(|| workspace().join("target/plugins"), PathBuf::from);
    let paths: Vec<PathBuf> = folders()
        .iter()
        .map(|folder| built.join(folder.file_name().unwrap()))
        .collect();
    let host = Host::new(HostConfig::default()).unwrap();
    let (set, refused) = FilterSet::load(&host, &paths);
    assert!(refused.is_empty(), "{refused:?}; type `cargo xtask plugins`");
    set.into_plugins()
});

fn check(plugin: &str, file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let case: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut asked = 0;
    for (expression, result) in case.run(plugin, &PLUGINS) {
        asked += 1;
        if let Err(otherwise) = result {
            panic!("{}: {expression}: {otherwise}", file.display());
        }
    }
    assert!(asked > 0, "{}", file.display());
}

#[test]
fn every_case_comes_out_as_expected() {
    let folders = folders();
    assert!(folders.len() >= 2, "{folders:?}");
    for folder in folders {
        let plugin = folder.file_name().unwrap().to_string_lossy().into_owned();
        for case in std::fs::read_dir(folder.join("cases")).unwrap() {
            check(&plugin, &case.unwrap().path().join("case.toml"));
        }
    }
}

#[test]
fn two_filters_and_native_terms_work_together() {
    let record = |name: &str, version: &str| Judged {
        kind: "image",
        name: name.to_owned(),
        size: version.len() as u64,
        labels: Labels::from_iter([("version".to_owned(), version.to_owned())]),
        ..Judged::default()
    };
    let mut records = vec![
        record("a", "1.2"),
        record("b", "1.3.0"),
        record("c", "1.4.0"),
        record("d", "2"),
    ];
    let filters = [
        r#"wasm.semver=="labels.version >= 1.3",wasm.cel=="size > 3",name!=c"#,
        "wasm.semver!=\"labels.version < 2\"",
    ];
    let filters = filters.map(str::to_owned);
    Filters::compile(&filters, &PLUGINS)
        .unwrap()
        .retain(&mut records)
        .unwrap();
    assert_eq!(
        records
            .iter()
            .map(|record| record.name.as_str())
            .collect::<Vec<_>>(),
        ["b", "d"]
    );
}
