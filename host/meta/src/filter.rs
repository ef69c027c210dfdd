//! The filter language of lists, which is containerd's, and its one addition: terms that a plugin answers.
//!
//! ```text
//! filters    := filter*                       a record is listed if any of them matches; no filter matches everything
//! filter     := "" | selector ("," selector)*                      all selectors must match; "" matches everything
//! selector   := path [ operator value ]                           without an operator: whether the field is there
//! path       := field ("." field)*           field := [A-Za-z0-9_]+ | "quoted"
//! operator   := "==" | "!=" | "~="           value := "quoted" | characters without white space and commas
//! ```
//!
//! `==` needs the field and the same value; `!=` is true of a missing field; `~=` searches a regular expression in the
//! value, with the empty text for a missing field. The value of `~=` may also be quoted as `/…/` or `|…|`.
//!
//! The path `wasm.<plugin>`, with `==` or `!=`, hands its value to a filter plugin: `wasm.semver=="labels.version >= 1.2"`.
//!
//! Read `scanner` (characters to tokens), `quote`, `parser` (tokens to selectors), `term` and `pattern` (what a selector
//! says of a value), `plugin` (the traits that a host of plugins implements), `error`.

mod error;
mod parser;
mod pattern;
mod plugin;
mod quote;
mod scanner;
mod term;

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

pub use error::{FilterError, ParseError, PluginFailure};
pub use plugin::{Compiled, FilterPlugin, FilterSource, Plugins};

use crate::limits::{FILTER_BATCH, FILTER_PATTERNS, FILTER_SELECTORS, FILTER_TEXTS};
use crate::names::Labels;
use parser::{Operator, Selector};
use term::Term;

/// A record that can be listed.
pub trait Fields {
    /// The value of a field, or none if the record has no such field. The path has at least one component.
    ///
    /// Of labels and annotations, the components after the first are joined with `.` to one key: [`label`] does it.
    /// Other fields ignore further components.
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>>;

    /// What a plugin is told of the record.
    fn facts(&self) -> Facts<'_>;
}

/// The value of the label whose key is the rest of a path; for [`Fields::field`].
#[must_use]
pub fn label<'a>(labels: &'a Labels, rest: &[&str]) -> Option<Cow<'a, str>> {
    let value = match rest {
        [] => None,
        [key] => labels.get(*key),
        parts => labels.get(&parts.join(".")),
    };
    value.map(|value| Cow::Borrowed(value.as_str()))
}

/// What a plugin is told of a record. What the kind of record does not have is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts<'a> {
    /// What it is: `image`, `content`, `ingest`, `lease`, `snapshot`, `event`.
    pub kind: &'a str,
    /// Its name, key, id or ref.
    pub name: Option<Cow<'a, str>>,
    /// Its digest; of an image, its target's.
    pub digest: Option<Cow<'a, str>>,
    /// Its media type; of an image, its target's.
    pub media_type: Option<Cow<'a, str>>,
    /// Its size in bytes; of an image, its target's.
    pub size: Option<u64>,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// When it was last changed.
    pub updated: Option<SystemTime>,
    /// Its labels.
    pub labels: Option<&'a Labels>,
    /// The annotations of its descriptor.
    pub annotations: Option<&'a Labels>,
    /// What it runs on, such as `linux/amd64`; known of images that a policy is asked about.
    pub platform: Option<Cow<'a, str>>,
}

/// The filters of one request, ready to be matched.
#[derive(Debug, Default)]
pub struct Filters {
    /// A record is listed if one of them holds; without any, everything is.
    alternatives: Vec<Alternative>,
}

/// One filter: all of it must hold.
#[derive(Debug, Default)]
struct Alternative {
    terms: Vec<Term>,
    asked: Vec<Asked>,
}

/// A term that a plugin answers.
struct Asked {
    plugin: String,
    compiled: Box<dyn Compiled>,
    /// Whether records are wanted that the plugin says do not match.
    negated: bool,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("plugin", &self.plugin)
            .field("negated", &self.negated)
            .finish_non_exhaustive()
    }
}

impl Filters {
    /// Reads the filters of a request.
    ///
    /// # Errors
    /// [`FilterError::Parse`] for the first text that is wrong, [`FilterError::Limit`], [`FilterError::Unknown`] and
    /// [`FilterError::Expression`] for a plugin that is not there or that does not take its expression,
    /// [`FilterError::Plugin`] for one that fails on it.
    pub fn compile(texts: &[String], plugins: &Plugins) -> Result<Filters, FilterError> {
        let mut budget = Budget::default();
        Budget::check("filters in one request", texts.len(), FILTER_TEXTS)?;
        let mut everything = texts.is_empty();
        let mut alternatives = Vec::with_capacity(texts.len());
        for text in texts {
            everything |= text.is_empty();
            alternatives.push(Alternative::compile(text, plugins, &mut budget)?);
        }
        if everything {
            alternatives.clear();
        }
        Ok(Filters { alternatives })
    }

    /// Whether every record matches, so that none has to be looked at.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.alternatives.is_empty()
    }

    /// Whether a plugin may be asked, which computes for longer than a task between two waits should.
    #[must_use]
    pub fn has_plugins(&self) -> bool {
        self.alternatives.iter().any(|all| !all.asked.is_empty())
    }

    /// Keeps the records that match, in their order. A page at a time is best: plugins are asked about many at once.
    ///
    /// # Errors
    /// [`FilterError::Plugin`]; the records are then all still there.
    pub fn retain<T: Fields>(&self, records: &mut Vec<T>) -> Result<(), FilterError> {
        if self.is_everything() {
            return Ok(());
        }
        let mut keep = self.decide(records)?.into_iter();
        records.retain(|_| keep.next().unwrap_or(false));
        Ok(())
    }

    /// Whether one record matches.
    ///
    /// # Errors
    /// [`FilterError::Plugin`].
    pub fn matches<T: Fields>(&self, record: &T) -> Result<bool, FilterError> {
        if self.is_everything() {
            return Ok(true);
        }
        Ok(self.decide(std::slice::from_ref(record))? == [true])
    }

    /// Decides by native terms what they can decide, and asks the plugins about the rest.
    fn decide<T: Fields>(&self, records: &[T]) -> Result<Vec<bool>, FilterError> {
        let mut keep = vec![false; records.len()];
        let (asking, native): (Vec<_>, Vec<_>) =
            self.alternatives.iter().partition(|all| !all.asked.is_empty());
        for all in native {
            for at in all.natives(records, &keep) {
                keep[at] = true;
            }
        }
        for all in asking {
            let mut candidates = all.natives(records, &keep);
            for asked in &all.asked {
                candidates = asked.among(records, &candidates)?;
            }
            for at in candidates {
                keep[at] = true;
            }
        }
        Ok(keep)
    }
}

impl Alternative {
    fn compile(text: &str, plugins: &Plugins, budget: &mut Budget) -> Result<Alternative, FilterError> {
        let mut all = Alternative::default();
        if text.is_empty() {
            return Ok(all);
        }
        for selector in parser::parse(text)? {
            budget.take(&selector)?;
            if selector.path[0] == PLUGIN {
                all.asked.push(Asked::compile(text, &selector, plugins)?);
            } else {
                all.terms.push(Term::new(selector)?);
            }
        }
        Ok(all)
    }

    /// The records that are not kept yet and of which all native terms hold.
    fn natives<T: Fields>(&self, records: &[T], kept: &[bool]) -> Vec<usize> {
        let paths: Vec<Vec<&str>> = self.terms.iter().map(Term::path).collect();
        let holds = |record: &T| {
            let mut terms = self.terms.iter().zip(&paths);
            terms.all(|(term, path)| term.holds(record.field(path).as_deref()))
        };
        let open = kept.iter().zip(records).enumerate();
        open.filter(|(_, (kept, record))| !**kept && holds(record))
            .map(|(at, _)| at)
            .collect()
    }
}

/// The first component of a path that means a plugin.
const PLUGIN: &str = "wasm";

impl Asked {
    fn compile(text: &str, selector: &Selector, plugins: &Plugins) -> Result<Asked, FilterError> {
        let wrong = |at, reason: &str| FilterError::Parse(ParseError::new(text, at, reason));
        let name = selector.path[1..].join(".");
        if name.is_empty() {
            return Err(wrong(
                selector.at,
                "the name of a filter plugin is missing: wasm.<plugin>==<expression>",
            ));
        }
        let negated = match selector.test {
            Some((Operator::Equal, _)) => false,
            Some((Operator::Differs, _)) => true,
            Some((Operator::Matches, at)) => return Err(wrong(at, "a filter plugin takes == or !=, not ~=")),
            None => {
                return Err(wrong(
                    selector.at,
                    "a filter plugin needs an expression: wasm.<plugin>==<expression>",
                ));
            }
        };
        let plugin = plugins.find(&name)?;
        let compiled = plugin.compile(&selector.value)?;
        Ok(Asked {
            plugin: name,
            compiled,
            negated,
        })
    }

    /// Those of the candidates that the plugin, or its opposite, is for.
    fn among<T: Fields>(&self, records: &[T], candidates: &[usize]) -> Result<Vec<usize>, FilterError> {
        let mut wanted = Vec::with_capacity(candidates.len());
        for batch in candidates.chunks(FILTER_BATCH) {
            let facts: Vec<Facts<'_>> = batch.iter().map(|at| records[*at].facts()).collect();
            let answers = self.compiled.matches(&facts)?;
            if answers.len() != batch.len() {
                return Err(FilterError::Plugin {
                    plugin: self.plugin.clone(),
                    failure: PluginFailure::Answer,
                    reason: format!("it answered for {} of {} records", answers.len(), batch.len()),
                });
            }
            let answers = batch.iter().zip(answers);
            wanted.extend(answers.filter_map(|(at, matches)| (matches != self.negated).then_some(*at)));
        }
        Ok(wanted)
    }
}

/// What the filters of one request may have.
#[derive(Default)]
struct Budget {
    selectors: usize,
    patterns: usize,
}

impl Budget {
    fn take(&mut self, selector: &Selector) -> Result<(), FilterError> {
        self.selectors += 1;
        self.patterns += usize::from(matches!(selector.test, Some((Operator::Matches, _))));
        Budget::check("selectors in one request", self.selectors, FILTER_SELECTORS)?;
        Budget::check(
            "regular expressions in one request",
            self.patterns,
            FILTER_PATTERNS,
        )
    }

    fn check(what: &'static str, count: usize, limit: usize) -> Result<(), FilterError> {
        if count > limit {
            Err(FilterError::Limit { what, count, limit })
        } else {
            Ok(())
        }
    }
}
