//! Records as the interface hands them over: one text, one list of pairs, and records that point into both.

use super::{Instant, Pairs};

/// A piece of the batch's text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) at: u32,
    pub(crate) length: u32,
}

impl Span {
    pub(crate) fn of(self, text: &str) -> &str {
        let at = self.at as usize;
        // The host promises that it is a piece of the text.
        text.get(at..at + self.length as usize).unwrap_or_default()
    }

    /// Whether this piece is `wanted`.
    pub(crate) fn is(self, text: &str, wanted: &str) -> bool {
        let at = self.at as usize;
        let bytes = text.as_bytes();
        self.length as usize == wanted.len() && bytes.get(at..at + wanted.len()) == Some(wanted.as_bytes())
    }
}

/// A label or an annotation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) key: Span,
    pub(crate) value: Span,
}

/// Some of the batch's pairs, in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// What is known of one record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) kind: Span,
    pub(crate) name: Option<Span>,
    pub(crate) digest: Option<Span>,
    pub(crate) media_type: Option<Span>,
    pub(crate) size: Option<u64>,
    pub(crate) created: Option<Instant>,
    pub(crate) updated: Option<Instant>,
    pub(crate) labels: Option<Run>,
    pub(crate) annotations: Option<Run>,
    pub(crate) platform: Option<Span>,
}

/// Records to match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) text: String,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) records: Vec<Facts>,
}

impl Batch {
    pub(crate) fn text(&self, span: Span) -> &str {
        span.of(&self.text)
    }

    pub(crate) fn pairs(&self, run: Option<Run>) -> Pairs<'_> {
        let pairs = run.and_then(|run| {
            let first = run.first as usize;
            self.pairs.get(first..first + run.count as usize)
        });
        Pairs {
            text: &self.text,
            pairs: pairs.unwrap_or_default(),
        }
    }
}
