//! A native harness for label filters.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::filter::batch::{Batch, Facts, Pair, Run, Span};
use crate::filter::{self, Filter, Instant};

/// A record for tests of a label filter.
///
/// ```
/// use transom_sdk::testing::TestRecord;
///
/// let record = TestRecord::new("image").name("docker.io/library/debian:12").size(528).label("tier", "gold");
/// assert_eq!(record.to_string(), "image docker.io/library/debian:12");
/// ```
#[derive(Clone, Debug, Default)]
pub struct TestRecord {
    kind: String,
    name: Option<String>,
    digest: Option<String>,
    media_type: Option<String>,
    size: Option<u64>,
    created: Option<Instant>,
    updated: Option<Instant>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    platform: Option<String>,
}

impl TestRecord {
    /// A record of this kind, of which nothing else is known.
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            ..Self::default()
        }
    }

    /// Gives it a name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Gives it a digest.
    #[must_use]
    pub fn digest(mut self, digest: impl Into<String>) -> Self {
        self.digest = Some(digest.into());
        self
    }

    /// Gives it a media type.
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    /// Gives it a size in bytes.
    #[must_use]
    pub fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// Says when it was made: seconds since 1970, and nanoseconds.
    #[must_use]
    pub fn created(mut self, seconds: i64, nanoseconds: u32) -> Self {
        self.created = Some(Instant { seconds, nanoseconds });
        self
    }

    /// Says when it was last changed: seconds since 1970, and nanoseconds.
    #[must_use]
    pub fn updated(mut self, seconds: i64, nanoseconds: u32) -> Self {
        self.updated = Some(Instant { seconds, nanoseconds });
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels
            .get_or_insert_default()
            .insert(key.into(), value.into());
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let annotations = self.annotations.get_or_insert_default();
        annotations.insert(key.into(), value.into());
        self
    }

    /// Says what it runs on, such as `linux/amd64`.
    #[must_use]
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platform = Some(platform.into());
        self
    }

    /// Whether it matches an expression.
    ///
    /// # Errors
    ///
    /// What the filter says against the expression, or against the record.
    pub fn matches<F: Filter>(&self, expression: &str) -> Result<bool, Error> {
        Ok(select::<F>(expression, std::slice::from_ref(self))? == [true])
    }
}

impl std::fmt::Display for TestRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}",
            self.kind,
            self.name.as_deref().unwrap_or("without a name")
        )
    }
}

/// Matches records with an expression, in one batch, by way of the form in which the host hands them over.
///
/// # Errors
///
/// What the filter says against the expression, or against a record.
pub fn select<F: Filter>(expression: &str, records: &[TestRecord]) -> Result<Vec<bool>, Error> {
    let matcher = F::compile(expression)?;
    let bits = filter::matches(&matcher, &batch(records))?;
    Ok((0..records.len())
        .map(|at| bits[at / 8] >> (at % 8) & 1 == 1)
        .collect())
}

fn batch(records: &[TestRecord]) -> Batch {
    let mut batch = Batch::default();
    for record in records {
        let facts = Facts {
            kind: text(&mut batch, &record.kind),
            name: record.name.as_deref().map(|name| text(&mut batch, name)),
            digest: record.digest.as_deref().map(|digest| text(&mut batch, digest)),
            media_type: record
                .media_type
                .as_deref()
                .map(|media_type| text(&mut batch, media_type)),
            size: record.size,
            created: record.created,
            updated: record.updated,
            labels: record.labels.as_ref().map(|labels| pairs(&mut batch, labels)),
            annotations: record
                .annotations
                .as_ref()
                .map(|labels| pairs(&mut batch, labels)),
            platform: record
                .platform
                .as_deref()
                .map(|platform| text(&mut batch, platform)),
        };
        batch.records.push(facts);
    }
    batch
}

#[allow(clippy::cast_possible_truncation, reason = "records of a test are small")]
fn text(batch: &mut Batch, text: &str) -> Span {
    let at = batch.text.len() as u32;
    batch.text.push_str(text);
    Span {
        at,
        length: text.len() as u32,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "records of a test are small")]
fn pairs(batch: &mut Batch, pairs: &BTreeMap<String, String>) -> Run {
    let first = batch.pairs.len() as u32;
    for (key, value) in pairs {
        let pair = Pair {
            key: text(batch, key),
            value: text(batch, value),
        };
        batch.pairs.push(pair);
    }
    Run {
        first,
        count: pairs.len() as u32,
    }
}
