//! What a filter sees of a snapshot.

use std::borrow::Cow;

use super::{Info, Kind};
use crate::filter::{Facts, Fields, label};

impl Kind {
    /// Its name in filters: `view`, `active`, `committed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::View => "view",
            Kind::Active => "active",
            Kind::Committed => "committed",
        }
    }
}

impl Fields for Info {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        let value = match path {
            ["kind", ..] => self.kind.as_str(),
            ["name", ..] => &self.name,
            ["parent", ..] => &self.parent,
            ["labels", key @ ..] => return label(&self.labels, key),
            _ => return None,
        };
        // A snapshot without a parent has that field, empty.
        Some(Cow::Borrowed(value))
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "snapshot",
            name: Some(Cow::Borrowed(&self.name)),
            created: Some(self.created),
            updated: Some(self.updated),
            labels: Some(&self.labels),
            ..Facts::default()
        }
    }
}
