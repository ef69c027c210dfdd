//! What a selector says of the value of its field.

use super::error::FilterError;
use super::parser::{Operator, Selector};
use super::pattern::Pattern;

/// A selector that is answered here.
#[derive(Debug)]
pub(super) struct Term {
    path: Vec<String>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present,
    Equal(String),
    Differs(String),
    Matches(Pattern),
}

impl Term {
    pub(super) fn new(selector: Selector) -> Result<Term, FilterError> {
        let test = match selector.test {
            None => Test::Present,
            Some((Operator::Equal, _)) => Test::Equal(selector.value),
            Some((Operator::Differs, _)) => Test::Differs(selector.value),
            Some((Operator::Matches, _)) => Test::Matches(Pattern::new(&selector.value)?),
        };
        Ok(Term {
            path: selector.path,
            test,
        })
    }

    pub(super) fn path(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// Whether it holds of a value, or of a field that is not there.
    pub(super) fn holds(&self, value: Option<&str>) -> bool {
        match &self.test {
            Test::Present => value.is_some(),
            Test::Equal(wanted) => value == Some(wanted),
            Test::Differs(unwanted) => value != Some(unwanted),
            Test::Matches(pattern) => pattern.matches(value.unwrap_or_default()),
        }
    }
}
