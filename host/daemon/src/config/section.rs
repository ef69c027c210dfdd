//! A table that is read key by key. What nobody asked for is a mistake, with the nearest name that somebody asked for.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::setting::Setting;
use super::{Mistake, Mistakes};

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Mistake>);

impl Faults {
    pub(super) fn add(&mut self, line: usize, message: String) {
        self.0.push(Mistake { line, message });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_mistakes(mut self) -> Mistakes {
        self.0.sort_by_key(|mistake| mistake.line);
        Mistakes(self.0)
    }
}

/// A table and the names that were asked for.
#[derive(Debug)]
pub(super) struct Section<'t> {
    text: &'t str,
    name: &'static str,
    table: DeTable<'t>,
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    /// The whole file.
    pub(super) fn parse(text: &'t str, faults: &mut Faults) -> Section<'t> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            faults.add(line, error.message().to_owned());
        }
        Section {
            text,
            name: "",
            table: table.into_inner(),
            known: Vec::new(),
        }
    }

    /// A table in this one; empty if it is not there.
    pub(super) fn section(&mut self, name: &'static str, faults: &mut Faults) -> Section<'t> {
        self.nested(name, name, faults)
    }

    /// As [`section`](Self::section), for a table that is itself in one: `shown` is its whole name.
    pub(super) fn nested(
        &mut self,
        name: &'static str,
        shown: &'static str,
        faults: &mut Faults,
    ) -> Section<'t> {
        let table = match self.take(name) {
            None => DeTable::default(),
            Some(value) => {
                let line = line_of(self.text, value.span().start);
                match value.into_inner() {
                    DeValue::Table(table) => table,
                    other => {
                        faults.add(
                            line,
                            format!("{name} must be a table, [{shown}], not a {}", other.type_str()),
                        );
                        DeTable::default()
                    }
                }
            }
        };
        Section {
            text: self.text,
            name: shown,
            table,
            known: Vec::new(),
        }
    }

    /// Reads a key if it is there. Says whether it was and could be read.
    pub(super) fn set<T: Setting>(&mut self, name: &'static str, into: &mut T, faults: &mut Faults) -> bool {
        let Some(value) = self.take(name) else {
            return false;
        };
        match T::read(value.get_ref()) {
            Ok(read) => {
                *into = read;
                true
            }
            Err(expected) => {
                let line = line_of(self.text, value.span().start);
                faults.add(line, format!("{name} must be {expected}"));
                false
            }
        }
    }

    /// Everything was asked for.
    pub(super) fn end(&mut self, faults: &mut Faults) {
        let place = if self.name.is_empty() {
            "at the top of the file".to_owned()
        } else {
            format!("in [{}]", self.name)
        };
        for key in self.table.keys() {
            let hint = nearest(key.get_ref(), &self.known)
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            let line = line_of(self.text, key.span().start);
            faults.add(line, format!("unknown key `{}` {place}{hint}", key.get_ref()));
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(name);
        self.table.remove(name)
    }
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// The known name that is most like this one, if one is like it.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let close = |known: &&'static str| {
        let edits = edits(name, known);
        (edits <= known.len().max(3) / 2).then_some((edits, *known))
    };
    known.iter().filter_map(close).min().map(|(_, known)| known)
}

/// How many letters must be put in, left out or changed.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, from) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (left, to) in to.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[left + 1];
            row[left + 1] = changed.min(diagonal + 1).min(row[left] + 1);
        }
    }
    row[to.len()]
}
