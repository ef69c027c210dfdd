//! A case: what goes into a plugin and what must come out, from the files of a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use transom_plugin::config::Value;

use crate::failure::{Failure, Kind};

/// `case.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The first that the plugin accepts, if not said.
    media_type: Option<String>,
    #[serde(default)]
    config: BTreeMap<String, Value>,
    /// Annotations of the layer.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// A file beside it.
    file: Option<PathBuf>,
    /// A text, `repeat` times.
    raw: Option<String>,
    #[serde(default = "one")]
    repeat: usize,
    /// A tar.
    #[serde(default)]
    entry: Vec<Entry>,
    /// Bytes to leave out at the end.
    #[serde(default)]
    cut: usize,
}

/// An entry of the tar.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    /// `folder`, `link` (to `target`), `device`, or a file.
    kind: Option<String>,
    #[serde(default)]
    target: String,
    mode: Option<u32>,
    /// Records of a pax header.
    #[serde(default)]
    pax: BTreeMap<String, String>,
    /// Dots in front of the text.
    #[serde(default)]
    before: usize,
    #[serde(default)]
    text: String,
    #[serde(default = "one")]
    repeat: usize,
}

/// `expect.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    /// `input`, `tar`, or the name of a file beside it.
    output: String,
    /// All annotations.
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    /// Whether they are not compared.
    #[serde(default)]
    pub(super) ignore_annotations: bool,
    /// All findings, in order.
    #[serde(default)]
    pub(super) findings: Vec<ExpectedFinding>,
    /// All documents, in order.
    #[serde(default)]
    pub(super) documents: Vec<ExpectedDocument>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedFinding {
    pub(super) severity: String,
    pub(super) rule: String,
    pub(super) location: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedDocument {
    pub(super) media_type: String,
    /// Texts in it.
    #[serde(default)]
    pub(super) contains: Vec<String>,
}

/// What must come of it.
pub(super) enum Outcome {
    /// An error with this text.
    Error(String),
    /// This output, and what is said beside it.
    Output(Vec<u8>, Box<Expected>),
}

/// A case, read.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) media_type: Option<String>,
    pub(super) config: BTreeMap<String, Value>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) input: Vec<u8>,
    pub(super) outcome: Outcome,
}

fn one() -> usize {
    1
}

/// The cases in a folder, by their names.
pub(super) fn all(folder: &Path) -> Result<Vec<Case>, Failure> {
    folders(folder)?.iter().map(|folder| Case::read(folder)).collect()
}

/// The folders of cases, by their names.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::io(folder.display(), &error);
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(failed)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    Ok(folders)
}

impl Case {
    fn read(folder: &Path) -> Result<Case, Failure> {
        let input: Input = toml(&folder.join("case.toml"))?;
        let tar = tar(&input.entry).map_err(|error| Failure::io(folder.display(), &error))?;
        let mut bytes = match (&input.file, &input.raw) {
            (Some(name), _) => read(&folder.join(name))?,
            (None, Some(raw)) => raw.repeat(input.repeat).into_bytes(),
            (None, None) => tar.clone(),
        };
        bytes.truncate(bytes.len().saturating_sub(input.cut));
        let error = folder.join("error.txt");
        let outcome = if error.exists() {
            let text = String::from_utf8_lossy(&read(&error)?).trim().to_owned();
            Outcome::Error(text)
        } else {
            let expected: Expected = toml(&folder.join("expect.toml"))?;
            let output = match expected.output.as_str() {
                "input" => bytes.clone(),
                "tar" => tar,
                name => read(&folder.join(name))?,
            };
            Outcome::Output(output, Box::new(expected))
        };
        Ok(Case {
            name: name_of(folder),
            media_type: input.media_type,
            config: input.config,
            annotations: input.annotations,
            input: bytes,
            outcome,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::io(path.display(), &error))
}

/// The name of a case: that of its folder.
pub(super) fn name_of(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub(super) fn toml<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    toml::from_str(&text).map_err(|error| Failure::new(Kind::Usage, format!("{}: {error}", path.display())))
}

fn tar(entries: &[Entry]) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.mode.unwrap_or(0o644));
        let pax = entry
            .pax
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_bytes()));
        builder.append_pax_extensions(pax)?;
        let mut content = vec![b'.'; entry.before];
        content.extend_from_slice(entry.text.repeat(entry.repeat).as_bytes());
        match entry.kind.as_deref() {
            Some("folder") => header.set_entry_type(tar::EntryType::Directory),
            Some("device") => header.set_entry_type(tar::EntryType::Char),
            Some("link") => {
                header.set_entry_type(tar::EntryType::Link);
                header.set_link_name(&entry.target)?;
            }
            _ => header.set_entry_type(tar::EntryType::Regular),
        }
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, &entry.path, content.as_slice())?;
    }
    builder.into_inner()
}
