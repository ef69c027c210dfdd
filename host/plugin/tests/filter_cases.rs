//! The first-party label filters, built as components, in the real host: every folder in `plugins/<name>/cases` is a test.
//!
//! `case.toml` has `[[record]]`s and `[[check]]`s: an expression, and the names of the records that it selects or what the
//! error must contain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use transom_meta::Labels;
use transom_meta::filter::{Facts, Fields, FilterError, Filters, Plugins};
use transom_plugin::manifest::PluginKind;
use transom_plugin::{FilterSet, Host, HostConfig, Manifest};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    record: Vec<Record>,
    check: Vec<Check>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    kind: String,
    name: String,
    digest: Option<String>,
    media_type: Option<String>,
    size: Option<u64>,
    /// Seconds since 1970.
    created: Option<u64>,
    labels: Option<Labels>,
    annotations: Option<Labels>,
    platform: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    expression: String,
    #[serde(default)]
    expect: Vec<String>,
    error: Option<String>,
}

impl Fields for Record {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        (path == ["name"]).then_some(Cow::Borrowed(self.name.as_str()))
    }

    fn facts(&self) -> Facts<'_> {
        let created = self.created;
        Facts {
            kind: &self.kind,
            name: Some(Cow::Borrowed(&self.name)),
            digest: self.digest.as_deref().map(Cow::Borrowed),
            media_type: self.media_type.as_deref().map(Cow::Borrowed),
            size: self.size,
            created: created.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            updated: None,
            labels: self.labels.as_ref(),
            annotations: self.annotations.as_ref(),
            platform: self.platform.as_deref().map(Cow::Borrowed),
        }
    }
}

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

fn select(plugin: &str, check: &Check, records: &[Record]) -> Result<Vec<String>, FilterError> {
    let quoted = check
        .expression
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n");
    let filters = Filters::compile(&[format!("wasm.{plugin}==\"{quoted}\"")], &PLUGINS)?;
    let mut records = records.to_vec();
    filters.retain(&mut records)?;
    Ok(records.into_iter().map(|record| record.name).collect())
}

fn check(plugin: &str, file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let case: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    for check in &case.check {
        let place = format!("{}: {}", file.display(), check.expression);
        match (select(plugin, check, &case.record), &check.error) {
            (Ok(found), None) => assert_eq!(found, check.expect, "{place}"),
            (Err(error), Some(expected)) => {
                let said = error.to_string();
                assert!(
                    said.contains(expected) && said.contains(plugin),
                    "{place}: {said}"
                );
            }
            (other, _) => panic!("{place}: {other:?}"),
        }
    }
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
    let record = |name: &str, version: &str| Record {
        kind: "image".to_owned(),
        name: name.to_owned(),
        digest: None,
        media_type: None,
        size: Some(version.len() as u64),
        created: None,
        labels: Some(Labels::from_iter([("version".to_owned(), version.to_owned())])),
        annotations: None,
        platform: None,
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
