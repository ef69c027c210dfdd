//! Any text as a filter of a list, and as an expression of the semver filter.

use std::borrow::Cow;

use transom_meta::Labels;
use transom_meta::filter::{Facts, Fields, Filters, Plugins, label};
use transom_sdk::testing::TestRecord;

use super::shape;

struct Record {
    name: &'static str,
    labels: Labels,
}

impl Fields for Record {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name", ..] => Some(Cow::Borrowed(self.name)),
            ["labels", rest @ ..] => label(&self.labels, rest),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts::default()
    }
}

/// Reads a filter; one that can be read means the same with white space before it, twice in one filter and in two.
///
/// # Panics
/// When it does not.
pub fn filter(data: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(data) else {
        return "not a text".to_owned();
    };
    let mut outcome = native(text);
    let record = TestRecord::new("image").name("app:1.2").label("version", "1.2.3");
    match record.matches::<plugin_semver::Semver>(text) {
        Ok(matches) => outcome.push_str(&format!(" semver {matches}")),
        Err(error) => outcome.push_str(&shape(&error)),
    }
    outcome
}

fn native(text: &str) -> String {
    let compile = |texts: &[String]| Filters::compile(texts, &Plugins::default());
    let filters = match compile(&[text.to_owned()]) {
        Ok(filters) => filters,
        Err(error) => return shape(&error),
    };
    let labels = [("a", "1"), ("a.b", "x"), ("k/y", "é")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let records = || {
        let named = |name| Record {
            name,
            labels: labels.clone().into(),
        };
        ["a", "b", "", "a/b:1.2"]
            .map(named)
            .into_iter()
            .collect::<Vec<_>>()
    };
    let names = |filters: &Filters| {
        let mut kept = records();
        filters.retain(&mut kept).expect("no plugin is asked");
        kept.iter().map(|record| record.name).collect::<Vec<_>>()
    };
    let found = names(&filters);
    let mut same = vec![vec![text.to_owned(), text.to_owned()]];
    if !text.is_empty() {
        same.extend([vec![format!(" {text}")], vec![format!("{text},{text}")]]);
    }
    for texts in same {
        // What is twice as much may be too much.
        match compile(&texts) {
            Ok(again) => assert_eq!(names(&again), found, "{texts:?}"),
            Err(error) => assert!(error.to_string().contains("the limit is"), "{texts:?}: {error}"),
        }
    }
    format!("{} matches", found.len())
}
