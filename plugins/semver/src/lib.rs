//! Selects records by ranges of versions: of a label, of an annotation, of the tag in an image's name.
//!
//! Read `expression` (what is asked), then `version` (what counts as a version).

mod expression;
mod version;

use transom_sdk::{Error, Filter, FilterInfo, Matcher, Record};

pub use expression::Expression;

/// The filter. See `plugin.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Semver;

impl Filter for Semver {
    type Matcher = Expression;

    fn describe() -> FilterInfo {
        let example = "labels.version >= 1.2, < 2 || tag ~ ^3.1";
        FilterInfo::new("semver", env!("CARGO_PKG_VERSION"), example)
    }

    fn compile(expression: &str) -> Result<Expression, Error> {
        expression.parse().map_err(Error::Other)
    }
}

impl Matcher for Expression {
    fn matches(&self, record: &Record<'_>) -> Result<bool, Error> {
        Ok(self.holds(record))
    }
}

transom_sdk::register_filter!(Semver);
