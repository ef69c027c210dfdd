//! docker-registry's configuration, translated into ours.
//!
//! Every key of docker-registry 2 and 3 is either translated, or listed with the reason why not. `tree` is the file as values with
//! their lines, `variables` lays `REGISTRY_…` over it, `work` hands out values and gathers results; then each part of the
//! file has its own module: `storage`, `http`, `access` (authentication), `events` (notifications), `rest`. What nobody asked
//! for is listed at the end, with the reason that `reasons` knows.

use std::collections::BTreeMap;
use std::fmt;

use crate::settings::Mistake;

mod access;
mod events;
mod http;
mod reasons;
mod rest;
mod storage;
mod tree;
mod variables;
mod work;

use tree::Node;
use work::Work;

/// Largest file in bytes. Real ones have a few thousand.
pub const FILE_BYTES: usize = 1 << 20;

/// A configuration of docker-registry in our words.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The configuration, with what was not translated as comments at its end.
    pub toml: String,
    /// What was not translated, in the order of the file.
    pub untranslated: Vec<Untranslated>,
}

/// A key that was not translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untranslated {
    /// The key with its tables, joined by dots: `http.debug.addr`.
    pub key: String,
    /// Where it was set.
    pub origin: Origin,
    /// Why it was not translated, and what to do instead.
    pub reason: String,
    /// Whether something will be different. What does not matter is for docker-registry's own needs only.
    pub matters: bool,
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In a line of the file, from 1.
    Line(usize),
    /// By this variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(line) => write!(f, "line {line}"),
            Origin::Variable(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Untranslated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Untranslated {
            key, origin, reason, ..
        } = self;
        write!(f, "{origin}: {key}: {reason}")
    }
}

/// Why a configuration cannot be translated at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is no YAML, or not docker-registry's.
    #[error("{0}")]
    File(Mistake),
    /// A variable's value is no YAML, or does not fit where it is to go.
    #[error("{name}: {problem}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There must be exactly one of something.
    #[error("there must be exactly one {what}; there are {}", .found.join(", "))]
    Several {
        /// Of what: a storage driver, a way of authentication.
        what: &'static str,
        /// Those that there are.
        found: Vec<String>,
    },
}

/// Translates the text of a `config.yml`, with variables over it. Those that do not begin with `REGISTRY_` are not looked at.
///
/// # Errors
/// [`ImportError`].
pub fn import(yaml: &str, variables: &BTreeMap<String, String>) -> Result<Imported, ImportError> {
    let wrong = |line: usize, message: String| ImportError::File(Mistake { line, message });
    if yaml.len() > FILE_BYTES {
        return Err(wrong(1, format!("the file has more than {FILE_BYTES} bytes")));
    }
    let mut root = tree::parse(yaml).map_err(ImportError::File)?;
    let unknown = variables::apply(&mut root, variables)?;
    let mut work = Work::new(root);
    work.untranslated.extend(unknown);
    version(&mut work).map_err(|(line, message)| wrong(line, message))?;
    storage::translate(&mut work)?;
    access::translate(&mut work)?;
    http::translate(&mut work);
    events::translate(&mut work);
    rest::translate(&mut work);
    Ok(work.finish())
}

/// `version: 0.1` is the only one that there ever was.
fn version(work: &mut Work) -> Result<(), (usize, String)> {
    match work.take("version") {
        None => Ok(()),
        Some(node) if node.as_text().as_deref() == Some("0.1") => Ok(()),
        Some(Node { origin, .. }) => {
            let line = match origin {
                Origin::Line(line) => line,
                Origin::Variable(_) => 1,
            };
            Err((line, "the version must be 0.1".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
