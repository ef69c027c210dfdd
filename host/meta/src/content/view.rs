//! What a filter sees of content and of ingests.

use std::borrow::Cow;

use super::{IngestStatus, Record};
use crate::filter::{Facts, Fields, label};

impl Fields for Record {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["digest", ..] => Some(Cow::Borrowed(self.digest.as_str())),
            ["labels", key @ ..] => label(&self.labels, key),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "content",
            digest: Some(Cow::Borrowed(self.digest.as_str())),
            size: Some(self.size),
            created: Some(self.created),
            updated: Some(self.updated),
            labels: Some(&self.labels),
            ..Facts::default()
        }
    }
}

impl Fields for IngestStatus {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["ref", ..] => Some(Cow::Borrowed(&self.reference)),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "ingest",
            name: Some(Cow::Borrowed(&self.reference)),
            size: Some(self.offset),
            created: Some(self.started),
            updated: Some(self.updated),
            ..Facts::default()
        }
    }
}
