//! Events: what was changed, when, in which namespace.

use std::time::SystemTime;

use tokio::sync::broadcast;

use crate::names::{Labels, Namespace};

/// An event with its circumstances.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// When.
    pub timestamp: SystemTime,
    /// The namespace of the change.
    pub namespace: Namespace,
    /// Such as `/images/create`.
    pub topic: String,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are named after what they hold")]
pub enum Event {
    ImageCreate {
        name: String,
        labels: Labels,
    },
    ImageUpdate {
        name: String,
        labels: Labels,
    },
    ImageDelete {
        name: String,
    },
    ContentCreate {
        digest: String,
        size: i64,
    },
    ContentDelete {
        digest: String,
    },
    NamespaceCreate {
        name: String,
        labels: Labels,
    },
    NamespaceUpdate {
        name: String,
        labels: Labels,
    },
    NamespaceDelete {
        name: String,
    },
    /// Published or forwarded by a client: type URL and bytes, passed on as they are.
    Foreign {
        type_url: String,
        value: bytes::Bytes,
    },
}

/// Where events are published and subscribed to.
#[derive(Debug)]
pub struct Exchange {
    sender: broadcast::Sender<Envelope>,
}

impl Default for Exchange {
    fn default() -> Self {
        Exchange {
            sender: broadcast::channel(1024).0,
        }
    }
}

impl Exchange {
    /// Tells all subscribers.
    pub fn publish(&self, event: Envelope) {
        let _ = self.sender.send(event);
    }
}
