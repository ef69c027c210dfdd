//! The component of a label filter: what the host calls, in terms of a filter.

use std::marker::PhantomData;

use self::bindings::exports::transom::filter::matching;
use super::component::bindings::transom::common::types;
use super::component::set_up;
use crate::filter::{self, Batch, Facts, Filter, Instant, Pair, Run, Span};

/// The world's types and functions, generated from `wit/`.
#[allow(missing_docs, reason = "generated; the WIT text has the comments")]
#[allow(missing_debug_implementations, unreachable_pub, reason = "generated")]
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: ["wit/common", "wit/filter"],
        world: "transom:filter/label-filter",
        with: {
            "transom:common/types@0.1.0": crate::guest::bindings::transom::common::types,
            "transom:common/log@0.1.0": crate::guest::bindings::transom::common::log,
            "transom:filter/matching@0.1.0": generate,
        },
        pub_export_macro: true,
    });
}

/// Implements the world's exports by a filter.
#[derive(Debug)]
pub struct FilterComponent<F>(PhantomData<F>);

/// Holds an expression that was understood.
#[derive(Debug)]
pub struct Understood<F: Filter>(F::Matcher);

impl<F: Filter + 'static> matching::Guest for FilterComponent<F> {
    type Matcher = Understood<F>;

    fn describe() -> matching::Info {
        set_up();
        let info = F::describe();
        matching::Info {
            name: info.name,
            version: info.version,
            example: info.example,
        }
    }

    fn compile(expression: String) -> Result<matching::Matcher, types::Error> {
        set_up();
        let matcher = F::compile(&expression)?;
        Ok(matching::Matcher::new(Understood::<F>(matcher)))
    }
}

impl<F: Filter + 'static> matching::GuestMatcher for Understood<F> {
    fn matches(&self, batch: matching::Batch) -> Result<Vec<u8>, types::Error> {
        // Both sides of each `collect` have one layout, so that it happens in place.
        let batch = Batch {
            text: batch.text,
            pairs: batch.pairs.into_iter().map(Pair::from).collect(),
            records: batch.records.into_iter().map(Facts::from).collect(),
        };
        Ok(filter::matches(&self.0, &batch)?)
    }
}

impl From<matching::Span> for Span {
    fn from(span: matching::Span) -> Self {
        Self {
            at: span.at,
            length: span.length,
        }
    }
}

impl From<matching::Pair> for Pair {
    fn from(pair: matching::Pair) -> Self {
        Self {
            key: pair.key.into(),
            value: pair.value.into(),
        }
    }
}

impl From<matching::Pairs> for Run {
    fn from(pairs: matching::Pairs) -> Self {
        Self {
            first: pairs.first,
            count: pairs.count,
        }
    }
}

impl From<matching::Instant> for Instant {
    fn from(instant: matching::Instant) -> Self {
        Self {
            seconds: instant.seconds,
            nanoseconds: instant.nanoseconds,
        }
    }
}

impl From<matching::Facts> for Facts {
    fn from(facts: matching::Facts) -> Self {
        Self {
            kind: facts.kind.into(),
            name: facts.name.map(Span::from),
            digest: facts.digest.map(Span::from),
            media_type: facts.media_type.map(Span::from),
            size: facts.size,
            created: facts.created.map(Instant::from),
            updated: facts.updated.map(Instant::from),
            labels: facts.labels.map(Run::from),
            annotations: facts.annotations.map(Run::from),
            platform: facts.platform.map(Span::from),
        }
    }
}
