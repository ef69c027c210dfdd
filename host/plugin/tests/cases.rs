//! The first-party processors, built as components, in the real host: every folder in `plugins/<name>/cases` is a test.
//!
//! `case.toml` says what goes in: a tar made of `[[entry]]`s or `raw` text, encoded, cut short, and with which configuration.
//! `expect.toml` says what must come out, with the documents beside it, or `error.txt` what the error must contain. Each case is run with the input in one
//! piece and in small ones.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/harness.rs"]
mod harness;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use transom_layer::stage::{Outcome, Verdict};
use transom_oci::media_type::LAYER_TAR;
use transom_plugin::config::{Value, Values};
use transom_plugin::manifest::PluginKind;
use transom_plugin::{Host, HostConfig, Manifest, Plugin};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    media_type: Option<String>,
    #[serde(default)]
    config: BTreeMap<String, Value>,
    raw: Option<String>,
    #[serde(default = "one")]
    repeat: usize,
    #[serde(default)]
    entry: Vec<Entry>,
    encode: Option<String>,
    #[serde(default)]
    cut: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    target: String,
    mode: Option<u32>,
    /// Records of a pax header.
    #[serde(default)]
    pax: BTreeMap<String, String>,
    #[serde(default)]
    before: usize,
    #[serde(default)]
    text: String,
    #[serde(default = "one")]
    repeat: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    output: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// Whether they are not compared, because nobody wants to compute them by hand.
    #[serde(default)]
    ignore_annotations: bool,
    #[serde(default)]
    findings: Vec<ExpectFinding>,
    #[serde(default)]
    documents: Vec<ExpectDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectDocument {
    media_type: String,
    contains: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectFinding {
    severity: String,
    rule: String,
    location: String,
}

fn one() -> usize {
    1
}

static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(HostConfig::default()).unwrap());

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of the plugins in `plugins/`.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(workspace().join("plugins")).unwrap();
    let folders = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir());
    let mut names: Vec<String> = folders
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn load(name: &str) -> Plugin {
    let built =
        std::env::var_os("TRANSOM_PLUGINS").map_or_else(|| workspace().join("target/plugins"), PathBuf::from);
    let folder = built.join(name);
    assert!(
        folder.join(format!("{name}.wasm")).is_file(),
        "the component {name} is not built in {}: type `cargo xtask plugins`",
        built.display()
    );
    HOST.load_dir(&folder)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn cases(name: &str) -> Vec<PathBuf> {
    let folder = workspace().join("plugins").join(name).join("cases");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

#[test]
fn every_plugin_has_cases_a_manifest_and_a_readme() {
    let names = names();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        match kind(&name) {
            // Those of a driver are the conformance suite's.
            PluginKind::Driver => {
                let held = [
                    include_str!("drivers/conformance.rs"),
                    include_str!("drivers/webdav.rs"),
                ];
                let quoted = format!("\"{name}\"");
                let is_held = held.iter().any(|test| test.contains(&quoted));
                assert!(is_held, "plugins/{name} is not held to the conformance suite");
            }
            _ => assert!(!cases(&name).is_empty(), "plugins/{name} has no cases"),
        }
        for file in ["plugin.toml", "README.md"] {
            assert!(
                workspace().join("plugins").join(&name).join(file).is_file(),
                "plugins/{name} has no {file}"
            );
        }
    }
}

/// Whether it can be run. What is not in Rust needs a compiler that may not be there.
fn is_here(name: &str) -> bool {
    let is_rust = workspace()
        .join("plugins")
        .join(name)
        .join("Cargo.toml")
        .is_file();
    is_rust || transom_tests::plugin(name).is_some()
}

/// What kind of plugin it is; label filters have cases of another form, in `filter_cases.rs`.
fn kind(name: &str) -> PluginKind {
    let path = workspace().join("plugins").join(name).join("plugin.toml");
    let manifest = Manifest::parse(&std::fs::read_to_string(&path).unwrap(), &path);
    manifest.unwrap().kind
}

#[test]
fn every_case_comes_out_as_expected_in_every_chunking() {
    for name in names()
        .into_iter()
        .filter(|name| kind(name) == PluginKind::Processor && is_here(name))
    {
        let plugin = load(&name);
        for case in cases(&name) {
            check(&plugin, &case);
        }
    }
}

fn check(plugin: &Plugin, folder: &Path) {
    let read = |file: &str| std::fs::read_to_string(folder.join(file));
    let case: Case = toml::from_str(&read("case.toml").unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let values: Values = case.config.clone();
    let handler = plugin
        .handler(&values)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let tar = tar(&case);
    let input = encode(&case, &tar);
    let media_type = case.media_type.as_deref().unwrap_or(LAYER_TAR);
    let small = if input.len() < 32 << 10 {
        [1, 7, 512]
    } else {
        [997, 4096, 65537]
    };
    for chunk in [None].into_iter().chain(small.map(Some)) {
        let place = format!("{} with chunks of {chunk:?}", folder.display());
        let ran = harness::run(&handler, media_type, &input, chunk);
        if let Ok(error) = read("error.txt") {
            let failed = ran.err().unwrap_or_else(|| panic!("{place}: it went well"));
            let said = failed.to_string();
            assert!(said.contains(error.trim()), "{place}: {said}");
            continue;
        }
        let expect: Expect = toml::from_str(&read("expect.toml").unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let (output, outcome) = ran.unwrap_or_else(|error| panic!("{place}: {error}"));
        let expected = match expect.output.as_str() {
            "input" => &input,
            _ => &tar,
        };
        let output = match expect.output.as_str() {
            "zstd" => zstd::decode_all(output.as_slice()).unwrap(),
            _ => output,
        };
        assert!(output == *expected, "{place}: the output");
        compare(&outcome, &expect, &place);
    }
}

fn compare(outcome: &Outcome, expect: &Expect, place: &str) {
    if !expect.ignore_annotations {
        assert_eq!(outcome.annotations, expect.annotations, "{place}");
    }
    assert_eq!(outcome.verdict, Verdict::Continue, "{place}");
    let found: Vec<_> = outcome
        .findings
        .iter()
        .map(|found| format!("{:?} {} {}", found.severity, found.rule, found.location).to_lowercase())
        .collect();
    let expected = expect.findings.iter();
    let expected: Vec<_> = expected
        .map(|finding| format!("{} {} {}", finding.severity, finding.rule, finding.location).to_lowercase())
        .collect();
    assert_eq!(found, expected, "{place}");
    assert_eq!(outcome.documents.len(), expect.documents.len(), "{place}");
    for (document, expected) in outcome.documents.iter().zip(&expect.documents) {
        let text = String::from_utf8_lossy(&document.bytes);
        assert_eq!(document.media_type, expected.media_type, "{place}");
        for part in &expected.contains {
            assert!(text.contains(part), "{place}: {part} is not in {text}");
        }
    }
}

fn tar(case: &Case) -> Vec<u8> {
    if let Some(raw) = &case.raw {
        return raw.repeat(case.repeat).into_bytes();
    }
    let mut builder = tar::Builder::new(Vec::new());
    for entry in &case.entry {
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.mode.unwrap_or(0o644));
        let pax = entry
            .pax
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_bytes()));
        builder.append_pax_extensions(pax).unwrap();
        let mut content = vec![b'.'; entry.before];
        content.extend_from_slice(entry.text.repeat(entry.repeat).as_bytes());
        match entry.kind.as_deref() {
            Some("folder") => header.set_entry_type(tar::EntryType::Directory),
            Some("device") => header.set_entry_type(tar::EntryType::Char),
            Some("link") => {
                header.set_entry_type(tar::EntryType::Link);
                header.set_link_name(&entry.target).unwrap();
            }
            _ => header.set_entry_type(tar::EntryType::Regular),
        }
        header.set_size(content.len() as u64);
        builder
            .append_data(&mut header, &entry.path, content.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn encode(case: &Case, tar: &[u8]) -> Vec<u8> {
    let mut encoded = match case.encode.as_deref() {
        None => tar.to_vec(),
        Some("xz") => {
            let options = lzma_rust2::XzOptions::with_preset(6);
            let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            writer.write_all(tar).unwrap();
            writer.finish().unwrap()
        }
        Some("gzip") => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(tar).unwrap();
            writer.finish().unwrap()
        }
        Some("lz4") => {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer.write_all(tar).unwrap();
            writer.finish().unwrap()
        }
        Some("bzip2") => {
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            writer.write_all(tar).unwrap();
            writer.finish().unwrap()
        }
        Some("brotli") => {
            let mut encoded = Vec::new();
            let mut writer = brotli::CompressorWriter::new(&mut encoded, 4096, 5, 22);
            writer.write_all(tar).unwrap();
            drop(writer);
            encoded
        }
        Some(other) => panic!("the encoding {other} is not known"),
    };
    encoded.truncate(encoded.len() - case.cut);
    encoded
}
