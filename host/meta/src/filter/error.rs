//! Why a filter cannot be used, or a list cannot be made with it.

use std::fmt;

use crate::error::Class;
use crate::limits::FILTER_ERROR_BYTES;

/// Why a filter cannot be used, or a list cannot be made with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// It is not written in the language.
    #[error("filters: parse error: {0}")]
    Parse(ParseError),
    /// There is too much of it.
    #[error("filters: {count} {what}, the limit is {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A regular expression that is too large once compiled.
    #[error("filters: the regular expression {pattern:?} needs more than {limit} bytes of memory")]
    Pattern {
        /// The start of it.
        pattern: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// It names a plugin that is not there.
    #[error("filters: the filter plugin {name:?} is not known{}", hint(.known, .nearest.as_deref()))]
    Unknown {
        /// The name.
        name: String,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// All that are there.
        known: Vec<String>,
    },
    /// The plugin does not take its expression.
    #[error("filters: the filter plugin {plugin} does not take the expression {expression:?}: {reason}")]
    Expression {
        /// The plugin.
        plugin: String,
        /// The start of the expression.
        expression: String,
        /// What it says is wrong.
        reason: String,
    },
    /// The plugin failed, so that there is no list.
    #[error("filters: the filter plugin {plugin} failed: {reason}")]
    Plugin {
        /// The plugin.
        plugin: String,
        /// How.
        failure: PluginFailure,
        /// What happened, in words.
        reason: String,
    },
}

/// How a filter plugin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginFailure {
    /// It crashed: a bug in it.
    Crash,
    /// It took too much time or memory.
    Limit,
    /// It returned an error of its own about a record.
    Refused,
    /// It returned something else than an answer for each record.
    Answer,
    /// It was not asked, because it crashed again and again.
    Suspended,
}

impl FilterError {
    /// The class of this error.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            FilterError::Parse(_)
            | FilterError::Limit { .. }
            | FilterError::Pattern { .. }
            | FilterError::Unknown { .. }
            | FilterError::Expression { .. } => Class::InvalidArgument,
            FilterError::Plugin { failure, .. } => match failure {
                PluginFailure::Limit => Class::ResourceExhausted,
                // The expression asks of a record what it does not have.
                PluginFailure::Refused => Class::InvalidArgument,
                PluginFailure::Crash | PluginFailure::Answer => Class::Unknown,
                PluginFailure::Suspended => Class::Unavailable,
            },
        }
    }
}

fn hint(known: &[String], nearest: Option<&str>) -> String {
    match (nearest, known) {
        (_, []) => "; this daemon has none".to_owned(),
        (Some(nearest), _) => format!(", did you mean {nearest}? There are: {}", known.join(", ")),
        (None, _) => format!("; there are: {}", known.join(", ")),
    }
}

/// Where and why a filter is not written in the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    before: String,
    /// The character at fault; none at the end of the text.
    at: Option<char>,
    after: String,
    reason: String,
}

impl ParseError {
    /// A fault at byte `at` of `text`. Of a long text only what is near is kept.
    pub(super) fn new(text: &str, at: usize, reason: impl Into<String>) -> ParseError {
        let reason = reason.into();
        let Some((before, rest)) = text.split_at_checked(at) else {
            return ParseError {
                before: start(text),
                at: None,
                after: String::new(),
                reason,
            };
        };
        let mut rest = rest.chars();
        ParseError {
            before: end(before),
            at: rest.next(),
            after: start(rest.as_str()),
            reason,
        }
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError {
            before,
            at,
            after,
            reason,
        } = self;
        match at {
            Some(at) => write!(f, "[{before} >|{at}|< {after}]: {reason}"),
            None => write!(f, "[{before}]: {reason}"),
        }
    }
}

/// The start of a text, as much as an error shows.
pub(super) fn start(text: &str) -> String {
    let shown = text.floor_char_boundary(FILTER_ERROR_BYTES);
    let more = if shown < text.len() { "…" } else { "" };
    format!("{}{more}", &text[..shown])
}

fn end(text: &str) -> String {
    let from = text.ceil_char_boundary(text.len().saturating_sub(FILTER_ERROR_BYTES));
    let more = if from > 0 { "…" } else { "" };
    format!("{more}{}", &text[from..])
}
