//! What a filter sees of a lease.

use std::borrow::Cow;

use super::Lease;
use crate::filter::{Facts, Fields, label};

impl Fields for Lease {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["id", ..] => Some(Cow::Borrowed(&self.id)),
            ["labels", key @ ..] => label(&self.labels, key),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "lease",
            name: Some(Cow::Borrowed(&self.id)),
            created: Some(self.created),
            labels: Some(&self.labels),
            ..Facts::default()
        }
    }
}
