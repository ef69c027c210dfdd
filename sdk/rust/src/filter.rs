//! The traits of a label filter, and the records that it sees.

pub(crate) mod batch;

use crate::error::Error;

pub(crate) use batch::Batch;
#[cfg(target_arch = "wasm32")]
pub(crate) use batch::{Facts, Pair, Run, Span};

/// A label filter: it understands expressions in a language of its own, about the records of a list.
///
/// A client writes `wasm.<name>=="<expression>"` into a filter. The host has the expression compiled once and matches
/// many records with it, also those of later lists, so an answer must depend on the expression and the record alone.
pub trait Filter {
    /// An expression that was understood.
    type Matcher: Matcher;

    /// Says what the filter is. Always the same answer.
    fn describe() -> FilterInfo;

    /// Understands an expression.
    ///
    /// # Errors
    ///
    /// [`Error::Other`] for one that is wrong; its text tells the client what, and where.
    fn compile(expression: &str) -> Result<Self::Matcher, Error>;
}

/// An expression that was understood.
pub trait Matcher: 'static {
    /// Whether a record matches.
    ///
    /// # Errors
    ///
    /// An [`Error`] if the expression is neither true nor false of the record. The client then gets no list at all,
    /// rather than one that may be wrong; the SDK adds which record it was.
    fn matches(&self, record: &Record<'_>) -> Result<bool, Error>;
}

/// What a label filter is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FilterInfo {
    /// Its name: lower-case letters, digits and `-`, at most 64 bytes.
    pub name: String,
    /// Its version by the rules of semver.org; `env!("CARGO_PKG_VERSION")` will do.
    pub version: String,
    /// An expression that shows what it is for, in one line of at most 256 bytes.
    pub example: String,
}

impl FilterInfo {
    /// Name, version and example.
    pub fn new(name: impl Into<String>, version: impl Into<String>, example: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            example: example.into(),
        }
    }
}

/// A record of a list. What its kind does not have is none.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    batch: &'a Batch,
    facts: &'a batch::Facts,
}

impl<'a> Record<'a> {
    /// What it is: `image`, `content`, `ingest`, `lease`, `snapshot` or `event`.
    pub fn kind(&self) -> &'a str {
        self.batch.text(self.facts.kind)
    }

    /// Its name, key, id or ref.
    pub fn name(&self) -> Option<&'a str> {
        self.facts.name.map(|span| self.batch.text(span))
    }

    /// Its digest; of an image, its target's.
    pub fn digest(&self) -> Option<&'a str> {
        self.facts.digest.map(|span| self.batch.text(span))
    }

    /// Its media type; of an image, its target's.
    pub fn media_type(&self) -> Option<&'a str> {
        self.facts.media_type.map(|span| self.batch.text(span))
    }

    /// Its size in bytes; of an image, its target's.
    pub fn size(&self) -> Option<u64> {
        self.facts.size
    }

    /// When it was made.
    pub fn created(&self) -> Option<Instant> {
        self.facts.created
    }

    /// When it was last changed.
    pub fn updated(&self) -> Option<Instant> {
        self.facts.updated
    }

    /// Its labels; none if its kind has none.
    pub fn labels(&self) -> Pairs<'a> {
        self.batch.pairs(self.facts.labels)
    }

    /// The annotations of its descriptor; none if its kind has none.
    pub fn annotations(&self) -> Pairs<'a> {
        self.batch.pairs(self.facts.annotations)
    }

    /// What it runs on, such as `linux/amd64`; known of images that a policy is asked about.
    pub fn platform(&self) -> Option<&'a str> {
        self.facts.platform.map(|span| self.batch.text(span))
    }
}

/// A point in time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Instant {
    /// Seconds since 1970-01-01 00:00 UTC; before it, less than 0.
    pub seconds: i64,
    /// Nanoseconds after that second, less than 1,000,000,000.
    pub nanoseconds: u32,
}

/// Labels or annotations, sorted by key.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    text: &'a str,
    pairs: &'a [batch::Pair],
}

impl<'a> Pairs<'a> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        // Few records have more than a handful, and most keys differ in length already.
        let mut pairs = self.pairs.iter();
        let pair = pairs.find(|pair| pair.key.is(self.text, key))?;
        Some(pair.value.of(self.text))
    }

    /// All keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let text = self.text;
        self.pairs
            .iter()
            .map(move |pair| (pair.key.of(text), pair.value.of(text)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// Matches a batch: one bit for each record.
pub(crate) fn matches(matcher: &impl Matcher, batch: &Batch) -> Result<Vec<u8>, Error> {
    let mut bits = vec![0u8; batch.records.len().div_ceil(8)];
    for (at, facts) in batch.records.iter().enumerate() {
        let record = Record { batch, facts };
        if matcher.matches(&record).map_err(|error| about(&record, error))? {
            bits[at / 8] |= 1 << (at % 8);
        }
    }
    Ok(bits)
}

/// The same error, with the record that it is about.
fn about(record: &Record<'_>, error: Error) -> Error {
    let name = record.name().or_else(|| record.digest()).unwrap_or_default();
    match error {
        Error::Other(text) => Error::Other(format!("of the {} {name:?}: {text}", record.kind())),
        error => error,
    }
}
