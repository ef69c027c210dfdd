//! A table that is read key by key. What nobody asked for is a mistake, with the nearest name that somebody asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};
use transom_plugin::config::{Value, Values};

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
    name: String,
    /// Where it begins in the text.
    at: usize,
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
            name: String::new(),
            at: 0,
            table: table.into_inner(),
            known: Vec::new(),
        }
    }

    /// A table in this one; empty if it is not there.
    pub(super) fn section(&mut self, name: &'static str, faults: &mut Faults) -> Section<'t> {
        let value = self.take(name);
        self.table_of(self.path(name), value, faults)
    }

    /// The tables in a table in this one, by their names, in the order of the file.
    pub(super) fn tables(&mut self, name: &'static str, faults: &mut Faults) -> Vec<(String, Section<'t>)> {
        let outer = self.section(name, faults);
        let mut tables: Vec<_> = outer.table.clone().into_iter().collect();
        tables.sort_by_key(|(key, _)| key.span().start);
        let table = |(key, value): (Spanned<DeString<'t>>, Spanned<DeValue<'t>>)| {
            let key = key.into_inner().into_owned();
            let path = outer.path(&format!("{key:?}"));
            let section = outer.table_of(path, Some(value), faults);
            (key, section)
        };
        tables.into_iter().map(table).collect()
    }

    /// All keys of this table as configuration of a plugin.
    pub(super) fn values(&mut self, faults: &mut Faults) -> Values {
        let mut values = Values::new();
        for (key, value) in std::mem::take(&mut self.table) {
            let line = line_of(self.text, value.span().start);
            match Value::read(value.get_ref()) {
                Ok(value) => drop(values.insert(key.into_inner().into_owned(), value)),
                Err(expected) => faults.add(line, format!("{} must be {expected}", key.get_ref())),
            }
        }
        values
    }

    /// All keys of this table as lists of paths, by their names.
    pub(super) fn paths(&mut self, faults: &mut Faults) -> BTreeMap<String, Vec<PathBuf>> {
        let mut paths = BTreeMap::new();
        for (key, value) in std::mem::take(&mut self.table) {
            let line = line_of(self.text, value.span().start);
            match Vec::<PathBuf>::read(value.get_ref()) {
                Ok(value) => drop(paths.insert(key.into_inner().into_owned(), value)),
                Err(expected) => faults.add(line, format!("{} must be {expected}", key.get_ref())),
            }
        }
        paths
    }

    /// Whether a key is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The line where it begins.
    pub(super) fn line(&self) -> usize {
        line_of(self.text, self.at)
    }

    /// What nobody asked for, to be read by somebody else, and the text that it is in.
    pub(super) fn rest(self) -> (&'t str, Spanned<DeTable<'t>>) {
        (self.text, Spanned::new(self.at..self.at, self.table))
    }

    fn table_of(
        &self,
        name: String,
        value: Option<Spanned<DeValue<'t>>>,
        faults: &mut Faults,
    ) -> Section<'t> {
        let (at, table) = match value {
            None => (self.at, DeTable::default()),
            Some(value) => {
                let at = value.span().start;
                match value.into_inner() {
                    DeValue::Table(table) => (at, table),
                    other => {
                        let line = line_of(self.text, at);
                        faults.add(
                            line,
                            format!("{name} must be a table, [{name}], not a {}", other.type_str()),
                        );
                        (at, DeTable::default())
                    }
                }
            }
        };
        Section {
            text: self.text,
            name,
            at,
            table,
            known: Vec::new(),
        }
    }

    /// The name of a table in this one.
    fn path(&self, name: &str) -> String {
        if self.name.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.name)
        }
    }

    /// Reads a key that must be there. Says whether it could be read.
    pub(super) fn need<T: Setting>(&mut self, name: &'static str, into: &mut T, faults: &mut Faults) -> bool {
        if !self.table.contains_key(name) {
            self.known.push(name);
            let line = line_of(self.text, self.at);
            faults.add(line, format!("[{}] needs the key {name}", self.name));
            return false;
        }
        self.set(name, into, faults)
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
