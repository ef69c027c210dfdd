//! What a filter sees of an event.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::{Envelope, Event, EventDecoder};
use crate::filter::{Facts, Fields, label};
use crate::names::Labels;

/// An event, with what can read it if it is a client's.
pub(super) struct Seen {
    envelope: Arc<Envelope>,
    decoder: Option<Arc<dyn EventDecoder>>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.envelope, f)
    }
}

impl Seen {
    pub(super) fn new(envelope: Arc<Envelope>, decoder: Option<Arc<dyn EventDecoder>>) -> Seen {
        Seen { envelope, decoder }
    }

    pub(super) fn into_envelope(self) -> Arc<Envelope> {
        self.envelope
    }
}

impl Fields for Seen {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        if let (["event", path @ ..], Event::Foreign { type_url, value }) = (path, &self.envelope.event) {
            let decoder = self.decoder.as_ref().filter(|_| !path.is_empty())?;
            return decoder.field(type_url, value, path).map(Cow::Owned);
        }
        self.envelope.field(path)
    }

    fn facts(&self) -> Facts<'_> {
        self.envelope.facts()
    }
}

impl Fields for Envelope {
    /// Of an event of a client only namespace and topic are known here.
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["namespace", ..] => Some(Cow::Borrowed(self.namespace.as_str())),
            ["topic", ..] => Some(Cow::Borrowed(&self.topic)),
            ["event", path @ ..] => self.event.field(path),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "event",
            name: Some(Cow::Borrowed(&self.topic)),
            created: Some(self.timestamp),
            labels: self.event.labels(),
            ..Facts::default()
        }
    }
}

impl Event {
    fn labels(&self) -> Option<&Labels> {
        match self {
            Event::ImageCreate { labels, .. }
            | Event::ImageUpdate { labels, .. }
            | Event::NamespaceCreate { labels, .. }
            | Event::NamespaceUpdate { labels, .. } => Some(labels),
            _ => None,
        }
    }

    /// The field of containerd's message for this event. As there, an empty text is an absent field.
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        let (first, rest) = path.split_first()?;
        if *first == "labels" {
            return label(self.labels()?, rest);
        }
        let value = match (self, *first) {
            (
                Event::ImageCreate { name, .. }
                | Event::ImageUpdate { name, .. }
                | Event::ImageDelete { name }
                | Event::NamespaceCreate { name, .. }
                | Event::NamespaceUpdate { name, .. }
                | Event::NamespaceDelete { name }
                | Event::SnapshotCommit { name, .. },
                "name",
            ) => name,
            (Event::ContentCreate { digest, .. } | Event::ContentDelete { digest }, "digest") => digest,
            (Event::ContentCreate { size, .. }, "size") => return Some(Cow::Owned(size.to_string())),
            (
                Event::SnapshotPrepare { key, .. }
                | Event::SnapshotCommit { key, .. }
                | Event::SnapshotRemove { key, .. },
                "key",
            ) => key,
            (Event::SnapshotPrepare { parent, .. }, "parent") => parent,
            (
                Event::SnapshotPrepare { snapshotter, .. }
                | Event::SnapshotCommit { snapshotter, .. }
                | Event::SnapshotRemove { snapshotter, .. },
                "snapshotter",
            ) => snapshotter,
            _ => return None,
        };
        (!value.is_empty()).then_some(Cow::Borrowed(value))
    }
}
