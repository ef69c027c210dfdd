//! A TOML table that is read key by key; mistakes are named with their line.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Error;

/// A value and where it is.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// A table of a file.
#[derive(Debug)]
pub(super) struct Table<'t> {
    pub(super) file: &'t File<'t>,
    table: DeTable<'t>,
}

/// The file that mistakes are in.
#[derive(Debug)]
pub(super) struct File<'t> {
    pub(super) path: &'t Path,
    pub(super) text: &'t str,
}

impl File<'_> {
    /// A mistake at a byte of the text.
    pub(super) fn mistake(&self, at: usize, reason: impl Into<String>) -> Error {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        Error::File {
            path: self.path.to_path_buf(),
            line: Some(1 + before.iter().filter(|byte| **byte == b'\n').count()),
            reason: reason.into(),
        }
    }

    /// A path as written in the file: relative ones are beside it.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

impl<'t> Table<'t> {
    /// The whole file.
    pub(super) fn parse(file: &'t File<'t>) -> Result<Table<'t>, Error> {
        match DeTable::parse(file.text) {
            Ok(table) => Ok(Table {
                file,
                table: table.into_inner(),
            }),
            Err(error) => Err(file.mistake(error.span().map_or(0, |span| span.start), error.message())),
        }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Value<'t>> {
        self.table.remove(key)
    }

    pub(super) fn string(&mut self, key: &str) -> Result<Option<Spanned<String>>, Error> {
        self.take(key)
            .map(|value| text(self.file, key, value))
            .transpose()
    }

    pub(super) fn boolean(&mut self, key: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::Boolean(value) => Ok(Some(*value)),
            _ => Err(self
                .file
                .mistake(value.span().start, format!("{key} is true or false"))),
        }
    }

    /// The tables in a table in this one, in the order of the file.
    pub(super) fn tables(&mut self, key: &str) -> Result<Vec<(Spanned<String>, Table<'t>)>, Error> {
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        let file = self.file;
        let outer = table(file, key, value)?;
        let mut inner: Vec<_> = outer.table.into_iter().collect();
        inner.sort_by_key(|(key, _)| key.span().start);
        let one = |(name, value): (Spanned<_>, Value<'t>)| {
            let span = name.span();
            let name: String = std::borrow::Cow::into_owned(name.into_inner());
            let inner = table(file, &name, value)?;
            Ok((Spanned::new(span, name), inner))
        };
        inner.into_iter().map(one).collect()
    }

    /// What is left of it.
    pub(super) fn entries(self) -> Vec<(Spanned<String>, Value<'t>)> {
        let entry = |(key, value): (Spanned<std::borrow::Cow<'t, str>>, Value<'t>)| {
            let span = key.span();
            (Spanned::new(span, key.into_inner().into_owned()), value)
        };
        self.table.into_iter().map(entry).collect()
    }
}

/// A value that is a table.
pub(super) fn table<'t>(file: &'t File<'t>, key: &str, value: Value<'t>) -> Result<Table<'t>, Error> {
    let at = value.span().start;
    match value.into_inner() {
        DeValue::Table(table) => Ok(Table { file, table }),
        _ => Err(file.mistake(at, format!("{key} is a table"))),
    }
}

/// A value that is a text.
pub(super) fn text(file: &File<'_>, key: &str, value: Value<'_>) -> Result<Spanned<String>, Error> {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) => Ok(Spanned::new(span, text.into_owned())),
        _ => Err(file.mistake(span.start, format!("{key} is a text in quotes"))),
    }
}

/// A value that is one text or a list of them.
pub(super) fn texts(file: &File<'_>, key: &str, value: Value<'_>) -> Result<Vec<Spanned<String>>, Error> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(values) => values.into_iter().map(|value| text(file, key, value)).collect(),
        DeValue::String(text) => Ok(vec![Spanned::new(span, text.into_owned())]),
        _ => Err(file.mistake(
            span.start,
            format!("{key} is a text in quotes, or a list of them"),
        )),
    }
}
