//! Events: what was changed, when, in which namespace.
//!
//! [`Exchange`] takes events from transactions and from clients and hands each to every subscriber; `queue` holds what a
//! subscriber has not read yet; `view` says what a filter sees of an event.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::filter::{Filters, Plugins};
use crate::names::{self, Labels, Namespace};
use crate::{Error, error};

mod queue;
mod view;

use queue::Queue;
pub use queue::Subscription;

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
    SnapshotPrepare {
        key: String,
        parent: String,
        snapshotter: String,
    },
    SnapshotCommit {
        key: String,
        name: String,
        snapshotter: String,
    },
    SnapshotRemove {
        key: String,
        snapshotter: String,
    },
    /// Published or forwarded by a client: type URL and bytes, passed on as they are.
    Foreign {
        type_url: String,
        value: Bytes,
    },
}

/// An event that a client forwards for another publisher, unchecked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forwarded {
    /// When it happened.
    pub timestamp: Option<SystemTime>,
    /// The namespace.
    pub namespace: String,
    /// The topic.
    pub topic: String,
    /// What kind of message the event is.
    pub type_url: String,
    /// The message.
    pub value: Bytes,
}

/// Reads the fields of events that clients publish, for filters with `event.<field>`.
pub trait EventDecoder: Send + Sync {
    /// The text of the field at `path` (`["labels", "a.b"]`) of the message `value` of the type `type_url`; none if the type
    /// is not known or the field is not set, or is no text.
    fn field(&self, type_url: &str, value: &[u8], path: &[&str]) -> Option<String>;
}

impl Event {
    /// Under which topic it is published; none for an event of a client.
    #[must_use]
    pub fn topic(&self) -> Option<&'static str> {
        Some(match self {
            Event::ImageCreate { .. } => "/images/create",
            Event::ImageUpdate { .. } => "/images/update",
            Event::ImageDelete { .. } => "/images/delete",
            Event::ContentCreate { .. } => "/content/create",
            Event::ContentDelete { .. } => "/content/delete",
            Event::NamespaceCreate { .. } => "/namespaces/create",
            Event::NamespaceUpdate { .. } => "/namespaces/update",
            Event::NamespaceDelete { .. } => "/namespaces/delete",
            Event::SnapshotPrepare { .. } => "/snapshot/prepare",
            Event::SnapshotCommit { .. } => "/snapshot/commit",
            Event::SnapshotRemove { .. } => "/snapshot/remove",
            Event::Foreign { .. } => return None,
        })
    }
}

impl Envelope {
    /// Something that happens now, under its topic.
    #[must_use]
    pub fn now(namespace: &Namespace, event: Event) -> Envelope {
        Envelope {
            timestamp: SystemTime::now(),
            namespace: namespace.clone(),
            topic: event.topic().unwrap_or_default().to_owned(),
            event,
        }
    }
}

/// Where events are published and subscribed to. Cheap to clone; clones are the same exchange.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    subscribers: RwLock<Vec<Arc<Queue>>>,
    decoder: OnceLock<Arc<dyn EventDecoder>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("subscribers", &self.subscribers)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// Sets what reads the events of clients for filters; the first one stays.
    pub fn decode_with(&self, decoder: Arc<dyn EventDecoder>) {
        let _ = self.shared.decoder.set(decoder);
    }

    /// Publishes a client's event, with the time of now.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a topic that is none.
    pub fn publish(
        &self,
        namespace: &Namespace,
        topic: &str,
        type_url: String,
        value: Bytes,
    ) -> Result<(), Error> {
        check_topic(topic)?;
        self.send(Envelope {
            timestamp: SystemTime::now(),
            namespace: namespace.clone(),
            topic: topic.to_owned(),
            event: Event::Foreign { type_url, value },
        });
        Ok(())
    }

    /// Publishes an event that a client passes on, as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a namespace or a topic that is none, or without a time.
    pub fn forward(&self, event: Forwarded) -> Result<(), Error> {
        let namespace = Namespace::new(&event.namespace)
            .map_err(|error| invalid(format!("event envelope has invalid namespace: {error}")))?;
        check_topic(&event.topic)?;
        let timestamp = event.timestamp.filter(|time| Some(*time) != year_one());
        let timestamp =
            timestamp.ok_or_else(|| invalid("timestamp must be set on forwarded event".to_owned()))?;
        self.send(Envelope {
            timestamp,
            namespace,
            topic: event.topic,
            event: Event::Foreign {
                type_url: event.type_url,
                value: event.value,
            },
        });
        Ok(())
    }

    /// Events from now on, of every namespace, that match one of the filters. Fields: `namespace`, `topic`,
    /// `event.<field of the event>`.
    ///
    /// # Errors
    /// [`Error::Subscribe`] for a filter that cannot be used.
    pub fn subscribe(&self, filters: &[String], plugins: &Plugins) -> Result<Subscription, Error> {
        let filters = Filters::compile(filters, plugins).map_err(|error| Error::Subscribe { error })?;
        Ok(Subscription::new(Arc::clone(&self.shared), filters))
    }

    /// Tells all subscribers. Never waits for one.
    pub(crate) fn send(&self, envelope: Envelope) {
        let subscribers = &self.shared.subscribers;
        let subscribers = subscribers.read().unwrap_or_else(PoisonError::into_inner);
        if subscribers.is_empty() {
            return;
        }
        let envelope = Arc::new(envelope);
        for subscriber in subscribers.iter() {
            subscriber.push(&envelope);
        }
    }
}

/// What Go's zero time is on the wire: a client that did not set the time.
fn year_one() -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(62_135_596_800))
}

fn check_topic(topic: &str) -> Result<(), Error> {
    let fail = |reason: &str| Err(invalid(format!("envelope topic {topic:?}: {reason}")));
    if topic.is_empty() {
        return fail("must not be empty");
    }
    let Some(components) = topic.strip_prefix('/') else {
        return fail("must start with '/'");
    };
    if components.is_empty() {
        return fail("must have at least one component");
    }
    components.split('/').try_for_each(|component| {
        names::identifier(component)
            .or_else(|error| fail(&format!("failed validation on component {component:?}: {error}")))
    })
}

fn invalid(what: String) -> error::Error {
    Error::Invalid { what }
}
