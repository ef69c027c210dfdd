//! Facts in the form of the interface: one text, one list of pairs, one of records.

use std::collections::BTreeMap;
use std::time::SystemTime;

use transom_meta::filter::Facts;

use crate::limits::{FILTER_BATCH_BYTES, FILTER_BATCH_RECORDS};
use crate::wit::filter_v0_1 as wit;

/// More text than a span can point into.
#[derive(Debug)]
pub(super) struct TooLong;

/// A batch that grows by one record after the other.
#[derive(Debug)]
pub(super) struct Builder {
    batch: wit::Batch,
    /// The kind of the record before, which is that of the next one almost always.
    kind: Option<wit::Span>,
}

impl Builder {
    pub(super) fn new(records: usize) -> Builder {
        let batch = wit::Batch {
            text: String::with_capacity(records * 128),
            pairs: Vec::with_capacity(records * 2),
            records: Vec::with_capacity(records),
        };
        Builder { batch, kind: None }
    }

    /// Whether the batch should be matched before it grows further.
    pub(super) fn is_full(&self) -> bool {
        self.batch.records.len() >= FILTER_BATCH_RECORDS || self.batch.text.len() >= FILTER_BATCH_BYTES
    }

    pub(super) fn batch(&self) -> &wit::Batch {
        &self.batch
    }

    /// Begins the next batch, in the same memory.
    pub(super) fn clear(&mut self) {
        self.batch.text.clear();
        self.batch.pairs.clear();
        self.batch.records.clear();
        self.kind = None;
    }

    pub(super) fn push(&mut self, facts: &Facts<'_>) -> Result<(), TooLong> {
        let record = wit::Facts {
            kind: self.kind(facts.kind)?,
            name: self.optional(facts.name.as_deref())?,
            digest: self.optional(facts.digest.as_deref())?,
            media_type: self.optional(facts.media_type.as_deref())?,
            size: facts.size,
            created: facts.created.map(instant),
            updated: facts.updated.map(instant),
            labels: facts.labels.map(|labels| self.pairs(labels)).transpose()?,
            annotations: facts.annotations.map(|labels| self.pairs(labels)).transpose()?,
            platform: self.optional(facts.platform.as_deref())?,
        };
        self.batch.records.push(record);
        Ok(())
    }

    fn kind(&mut self, kind: &str) -> Result<wit::Span, TooLong> {
        if let Some(before) = self.kind
            && self.batch.text[before.at as usize..][..before.length as usize] == *kind
        {
            return Ok(before);
        }
        let span = self.text(kind)?;
        self.kind = Some(span);
        Ok(span)
    }

    fn optional(&mut self, text: Option<&str>) -> Result<Option<wit::Span>, TooLong> {
        text.map(|text| self.text(text)).transpose()
    }

    fn text(&mut self, text: &str) -> Result<wit::Span, TooLong> {
        let at = u32::try_from(self.batch.text.len()).map_err(|_| TooLong)?;
        let length = u32::try_from(text.len()).map_err(|_| TooLong)?;
        at.checked_add(length).ok_or(TooLong)?;
        self.batch.text.push_str(text);
        Ok(wit::Span { at, length })
    }

    fn pairs(&mut self, pairs: &BTreeMap<String, String>) -> Result<wit::Pairs, TooLong> {
        let first = u32::try_from(self.batch.pairs.len()).map_err(|_| TooLong)?;
        let count = u32::try_from(pairs.len()).map_err(|_| TooLong)?;
        for (key, value) in pairs {
            let pair = wit::Pair {
                key: self.text(key)?,
                value: self.text(value)?,
            };
            self.batch.pairs.push(pair);
        }
        Ok(wit::Pairs { first, count })
    }
}

/// A time as the interface has it; before 1970 the seconds are rounded down.
fn instant(time: SystemTime) -> wit::Instant {
    let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => wit::Instant {
            seconds: whole(after.as_secs()),
            nanoseconds: after.subsec_nanos(),
        },
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => wit::Instant {
                    seconds: -whole(before.as_secs()),
                    nanoseconds: 0,
                },
                part => wit::Instant {
                    seconds: -whole(before.as_secs()) - 1,
                    nanoseconds: 1_000_000_000 - part,
                },
            }
        }
    }
}
