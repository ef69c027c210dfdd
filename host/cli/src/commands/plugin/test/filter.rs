//! A label filter on records: which of them an expression selects, or what its error says.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use transom_meta::Labels;
use transom_meta::filter::{Facts, Fields, FilterError, Filters, Plugins};
use transom_plugin::FilterSet;

use super::Told;
use super::case;
use crate::failure::Failure;
use crate::handlers;

/// `case.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    record: Vec<Record>,
    check: Vec<Check>,
}

/// What is listed.
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
    /// The same.
    updated: Option<u64>,
    labels: Option<Labels>,
    annotations: Option<Labels>,
    platform: Option<String>,
}

/// An expression, and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    expression: String,
    /// The names of the records that it selects.
    #[serde(default)]
    expect: Vec<String>,
    /// What its error must have.
    error: Option<String>,
}

impl Fields for Record {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        (path == ["name"]).then_some(Cow::Borrowed(self.name.as_str()))
    }

    fn facts(&self) -> Facts<'_> {
        let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Facts {
            kind: &self.kind,
            name: Some(Cow::Borrowed(&self.name)),
            digest: self.digest.as_deref().map(Cow::Borrowed),
            media_type: self.media_type.as_deref().map(Cow::Borrowed),
            size: self.size,
            created: self.created.map(time),
            updated: self.updated.map(time),
            labels: self.labels.as_ref(),
            annotations: self.annotations.as_ref(),
            platform: self.platform.as_deref().map(Cow::Borrowed),
        }
    }
}

pub(super) fn run(built: &Path, folder: &Path, as_json: bool) -> Result<(), Failure> {
    let host = handlers::host()?;
    let name = host.load_filter(built)?.name().to_owned();
    let (set, _) = FilterSet::load(&host, &[built.to_owned()]);
    let plugins = set.into_plugins();
    let mut told = Told::new(as_json);
    for folder in case::folders(folder)? {
        let case: Case = case::toml(&folder.join("case.toml"))?;
        for check in &case.check {
            let result = compare(check, select(&name, check, &case.record, &plugins));
            told.tell(
                &format!("{} {}", case::name_of(&folder), check.expression),
                result,
            )?;
        }
    }
    told.finish(folder)
}

fn select(
    plugin: &str,
    check: &Check,
    records: &[Record],
    plugins: &Plugins,
) -> Result<Vec<String>, FilterError> {
    let quoted = check
        .expression
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n");
    let filters = Filters::compile(&[format!("wasm.\"{plugin}\"==\"{quoted}\"")], plugins)?;
    let mut records = records.to_vec();
    filters.retain(&mut records)?;
    Ok(records.into_iter().map(|record| record.name).collect())
}

fn compare(check: &Check, found: Result<Vec<String>, FilterError>) -> Result<(), String> {
    match (found, &check.error) {
        (Ok(found), None) if found == check.expect => Ok(()),
        (Ok(found), None) => Err(format!("it selects {found:?}")),
        (Ok(found), Some(text)) => Err(format!(
            "it selects {found:?}, and should have failed with {text:?}"
        )),
        (Err(error), Some(text)) if error.to_string().contains(text) => Ok(()),
        (Err(error), Some(text)) => Err(format!("the error should have {text:?}, it is: {error}")),
        (Err(error), None) => Err(error.to_string()),
    }
}
