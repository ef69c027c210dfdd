//! Records of at least so many bytes: `wasm."{name}"==1000000`.

use transom_sdk::{Error, Filter, FilterInfo, Matcher, Record};

/// The filter.
#[derive(Debug)]
pub struct {type};

/// An expression that was understood.
#[derive(Debug)]
pub struct Least(u64);

impl Filter for {type} {
    type Matcher = Least;

    fn describe() -> FilterInfo {
        FilterInfo::new("{name}", env!("CARGO_PKG_VERSION"), "1000000")
    }

    fn compile(expression: &str) -> Result<Least, Error> {
        let bytes = expression.trim().parse();
        bytes.map(Least).map_err(|error| Error::Other(format!("a number of bytes is wanted: {error}")))
    }
}

impl Matcher for Least {
    fn matches(&self, record: &Record<'_>) -> Result<bool, Error> {
        Ok(record.size().is_some_and(|size| size >= self.0))
    }
}

transom_sdk::register_filter!({type});

#[cfg(test)]
mod tests {
    use super::*;
    use transom_sdk::testing::TestRecord;

    #[test]
    fn only_large_content_matches() {
        assert!(TestRecord::new("content").size(2000).matches::<{type}>("1000").unwrap());
        assert!(!TestRecord::new("content").size(999).matches::<{type}>("1000").unwrap());
        assert!(TestRecord::new("content").matches::<{type}>("many").is_err());
    }
}
