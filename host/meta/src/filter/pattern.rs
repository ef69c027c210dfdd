//! Regular expressions as containerd's clients know them, in RE2's syntax.

mod translate;

use regex::bytes::{Regex, RegexBuilder};

use super::error::{self, FilterError};
use crate::limits::FILTER_PATTERN_BYTES;

/// A regular expression that is searched in a value.
#[derive(Debug)]
pub(super) struct Pattern {
    /// None for one that is not well formed: as in containerd it matches nothing, and the log says so.
    regex: Option<Regex>,
}

impl Pattern {
    /// # Errors
    /// [`FilterError::Pattern`] for one that is well formed but too large.
    pub(super) fn new(text: &str) -> Result<Pattern, FilterError> {
        let regex = translate::translate(text).and_then(|text| {
            RegexBuilder::new(&text)
                .size_limit(FILTER_PATTERN_BYTES)
                .dfa_size_limit(FILTER_PATTERN_BYTES)
                .build()
                .map_err(|error| match error {
                    regex::Error::CompiledTooBig(_) => None,
                    error => Some(error.to_string()),
                })
        });
        match regex {
            Ok(regex) => Ok(Pattern { regex: Some(regex) }),
            Err(None) => Err(FilterError::Pattern {
                pattern: error::start(text),
                limit: FILTER_PATTERN_BYTES,
            }),
            Err(Some(reason)) => {
                let pattern = error::start(text);
                tracing::warn!(%pattern, %reason, "the regular expression of a filter is not well formed and matches nothing");
                Ok(Pattern { regex: None })
            }
        }
    }

    pub(super) fn matches(&self, value: &str) -> bool {
        let value = value.as_bytes();
        self.regex.as_ref().is_some_and(|regex| regex.is_match(value))
    }
}
