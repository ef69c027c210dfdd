//! What the variables of an expression are of a record. Each is made when it is looked at, without copying its text.

use std::collections::HashMap;

use cel::common::types::{CelInt, CelMap, CelMapKey, CelNull, CelString, CelTimestamp};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use chrono::DateTime;
use transom_sdk::{Instant, Pairs, Record};

/// The variables.
pub(crate) const FIELDS: [&str; 10] = [
    "kind",
    "name",
    "digest",
    "media_type",
    "size",
    "created",
    "updated",
    "labels",
    "annotations",
    "platform",
];

/// A record as variables. What it does not have is `null`, but labels and annotations are then empty.
pub(crate) struct Fields<'a>(pub(crate) Record<'a>);

impl VariableResolver for Fields<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let record = &self.0;
        Some(match variable {
            "kind" => text(Some(record.kind())),
            "name" => text(record.name()),
            "digest" => text(record.digest()),
            "media_type" => text(record.media_type()),
            "size" => match record.size() {
                Some(size) => CowVal::owned(CelInt::from(i64::try_from(size).unwrap_or(i64::MAX))),
                None => null(),
            },
            "created" => time(record.created()),
            "updated" => time(record.updated()),
            "labels" => map(record.labels()),
            "annotations" => map(record.annotations()),
            "platform" => text(record.platform()),
            _ => return None,
        })
    }
}

fn null<'b>() -> CowVal<'b, 'b> {
    CowVal::owned(CelNull)
}

fn text(text: Option<&str>) -> CowVal<'_, '_> {
    text.map_or_else(null, |text| CowVal::owned(CelString::from(text)))
}

fn time<'b>(instant: Option<Instant>) -> CowVal<'b, 'b> {
    let time = instant.and_then(|instant| DateTime::from_timestamp(instant.seconds, instant.nanoseconds));
    time.map_or_else(null, |time| {
        CowVal::owned(CelTimestamp::from(time.fixed_offset()))
    })
}

fn map(pairs: Pairs<'_>) -> CowVal<'_, '_> {
    let pairs = pairs.iter().map(|(key, value)| {
        let value: Box<dyn Val + '_> = Box::new(CelString::from(value));
        (CelMapKey::String(CelString::from(key)), value)
    });
    CowVal::owned(CelMap::from(pairs.collect::<HashMap<_, _>>()))
}
