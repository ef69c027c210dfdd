//! Cases of a label filter, as authors write them: records, and which of them each expression must select.
//!
//! ```toml
//! [[record]]
//! kind = "image"
//! name = "a"
//! labels = { tier = "1" }
//!
//! [[check]]
//! expression = "labels.tier == '1'"
//! expect = ["a"]
//!
//! [[check]]
//! expression = "labels.tier =="
//! error = "syntax"
//! ```

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use transom_meta::Labels;
use transom_meta::filter::{Facts, Fields, FilterError, Filters, Plugins};

/// A `case.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    record: Vec<Record>,
    check: Vec<Check>,
}

/// What is listed.
#[derive(Clone, Debug, Deserialize)]
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
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    expression: String,
    /// The names of the records that it selects.
    #[serde(default)]
    expect: Vec<String>,
    /// What its error must have.
    error: Option<String>,
}

impl Case {
    /// Asks a filter each of its expressions: the expression, and what came otherwise than it must.
    pub fn run<'a>(
        &'a self,
        plugin: &'a str,
        plugins: &'a Plugins,
    ) -> impl Iterator<Item = (&'a str, Result<(), String>)> {
        self.check.iter().map(move |check| {
            let found = self.select(&check.expression, plugin, plugins);
            (check.expression.as_str(), check.compare(plugin, found))
        })
    }

    fn select(&self, expression: &str, plugin: &str, plugins: &Plugins) -> Result<Vec<String>, FilterError> {
        let quoted = expression.replace('\\', r"\\").replace('"', "\\\"");
        let quoted = quoted.replace('\n', r"\n");
        let filters = Filters::compile(&[format!("wasm.\"{plugin}\"==\"{quoted}\"")], plugins)?;
        let mut records = self.record.clone();
        filters.retain(&mut records)?;
        Ok(records.into_iter().map(|record| record.name).collect())
    }
}

impl Check {
    fn compare(&self, plugin: &str, found: Result<Vec<String>, FilterError>) -> Result<(), String> {
        match (found, &self.error) {
            (Ok(found), None) if found == self.expect => Ok(()),
            (Ok(found), None) => Err(format!(
                "it selects {found:?}, and should select {:?}",
                self.expect
            )),
            (Ok(found), Some(text)) => Err(format!(
                "it selects {found:?}, and should have failed with {text:?}"
            )),
            (Err(error), Some(text)) => {
                let said = error.to_string();
                match said.contains(text) && said.contains(plugin) {
                    true => Ok(()),
                    false => Err(format!(
                        "the error should have {text:?} and the plugin's name, it is: {said}"
                    )),
                }
            }
            (Err(error), None) => Err(error.to_string()),
        }
    }
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
