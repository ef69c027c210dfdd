//! Values on their way from one configuration into the other.

use std::time::Duration;

use super::tree::{Node, Value};
use super::{Imported, Origin, Untranslated, reasons, variables};
use crate::settings::Period;

/// What is left of the old configuration, and what there is of the new one.
#[derive(Debug)]
pub(super) struct Work {
    root: Node,
    out: toml::Table,
    pub(super) untranslated: Vec<Untranslated>,
}

impl Work {
    pub(super) fn new(mut root: Node) -> Work {
        variables::expand(&mut root);
        Work {
            root,
            out: toml::Table::new(),
            untranslated: Vec::new(),
        }
    }

    /// A value, by its path. It is not there any more afterwards; null is not there either.
    pub(super) fn take(&mut self, path: &str) -> Option<Node> {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        self.take_in(table, key)
    }

    /// The same, with a key that may have dots in it.
    pub(super) fn take_in(&mut self, table: &str, key: &str) -> Option<Node> {
        let Value::Map(pairs) = &mut find(&mut self.root, table)?.value else {
            return None;
        };
        let at = pairs.iter().position(|(known, _)| known == key)?;
        Some(pairs.remove(at).1).filter(|node| !node.is_null())
    }

    /// The keys of a map.
    pub(super) fn keys(&mut self, path: &str) -> Vec<String> {
        match find(&mut self.root, path).map(|node| &node.value) {
            Some(Value::Map(pairs)) => pairs.iter().map(|(key, _)| key.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// A text.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        self.read(path, "it must be text", Node::as_text)
            .filter(|text| !text.is_empty())
    }

    /// A switch.
    pub(super) fn switch(&mut self, path: &str) -> Option<bool> {
        self.read(path, "it must be true or false", Node::as_bool)
    }

    /// A whole number.
    pub(super) fn integer(&mut self, path: &str) -> Option<i64> {
        self.read(path, "it must be a whole number", Node::as_integer)
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, path: &str) -> Option<Vec<String>> {
        self.read(path, "it must be a list of texts", Node::as_texts)
            .filter(|texts| !texts.is_empty())
    }

    /// A time: `1h30m`, or nanoseconds.
    pub(super) fn period(&mut self, path: &str) -> Option<Period> {
        self.read(path, "it must be a time such as 30s", period)
    }

    fn read<T>(&mut self, path: &str, must: &str, read: impl Fn(&Node) -> Option<T>) -> Option<T> {
        let node = self.take(path)?;
        let value = read(&node);
        if value.is_none() {
            self.note(path, &node.origin, must, true);
        }
        value
    }

    /// Writes into the new configuration. The path's tables are made.
    pub(super) fn put(&mut self, path: &str, value: impl Into<toml::Value>) {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        self.put_in(table, key, Some(value));
    }

    /// The same, if there is something, with a key that may have dots in it.
    pub(super) fn put_in(&mut self, path: &str, key: &str, value: Option<impl Into<toml::Value>>) {
        let mut table = &mut self.out;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            let inner = table.entry(name).or_insert_with(|| toml::Table::new().into());
            let Some(inner) = inner.as_table_mut() else {
                return;
            };
            table = inner;
        }
        if let Some(value) = value {
            table.insert(key.to_owned(), value.into());
        }
    }

    /// The same, if there is something.
    pub(super) fn put_some(&mut self, path: &str, value: Option<impl Into<toml::Value>>) {
        if let Some(value) = value {
            self.put(path, value);
        }
    }

    /// Lists a key that is not translated.
    pub(super) fn note(&mut self, key: &str, origin: &Origin, reason: impl Into<String>, matters: bool) {
        self.untranslated.push(Untranslated {
            key: key.to_owned(),
            origin: origin.clone(),
            reason: reason.into(),
            matters,
        });
    }

    /// Lists what is left. The new configuration, and all that is not in it.
    pub(super) fn into_parts(mut self) -> (toml::Table, Vec<Untranslated>) {
        let root = std::mem::replace(&mut self.root, Node::empty(Origin::Line(1)));
        self.leave("", &root);
        (self.out, self.untranslated)
    }

    /// The same as text.
    pub(super) fn finish(self) -> Imported {
        let (out, mut untranslated) = self.into_parts();
        let order = |entry: &Untranslated| (entry.origin.clone(), entry.key.clone());
        untranslated.sort_by_key(order);
        let mut toml = String::from("# Translated from docker-registry's configuration.\n\n");
        // A table of these types can always be written.
        toml.push_str(&toml::to_string_pretty(&out).unwrap_or_default());
        let lost: Vec<&Untranslated> = untranslated.iter().filter(|entry| entry.matters).collect();
        if !lost.is_empty() {
            toml.push_str("\n# Not translated:\n");
        }
        for entry in lost {
            toml.push_str(&format!(
                "# {}\n",
                entry.to_string().replace(char::is_control, " ")
            ));
        }
        Imported { toml, untranslated }
    }

    fn leave(&mut self, path: &str, node: &Node) {
        let name = |key: &str| {
            if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            }
        };
        match &node.value {
            Value::Null => {}
            Value::Map(pairs) => {
                for (key, node) in pairs {
                    self.leave(&name(key), node);
                }
            }
            Value::List(nodes) if nodes.iter().any(|node| matches!(node.value, Value::Map(_))) => {
                for (index, node) in nodes.iter().enumerate() {
                    self.leave(&name(&index.to_string()), node);
                }
            }
            _ => {
                let (reason, matters) = reasons::of(path, node);
                self.note(path, &node.origin, reason, matters);
            }
        }
    }
}

fn find<'n>(node: &'n mut Node, path: &str) -> Option<&'n mut Node> {
    path.split('.')
        .filter(|part| !part.is_empty())
        .try_fold(node, |node, part| match &mut node.value {
            Value::Map(pairs) => pairs
                .iter_mut()
                .find_map(|(key, node)| (key == part).then_some(node)),
            _ => None,
        })
}

/// docker-registry takes a bare number for nanoseconds.
pub(super) fn period(node: &Node) -> Option<Period> {
    if let Value::Integer(nanos) = node.value {
        return u64::try_from(nanos).ok().map(Duration::from_nanos).map(Period);
    }
    Period::parse(&node.as_text()?)
}

impl From<Period> for toml::Value {
    fn from(period: Period) -> toml::Value {
        period.to_string().into()
    }
}
