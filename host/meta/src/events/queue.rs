//! What a subscriber has not read yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::view::Seen;
use super::{Envelope, Event, Shared};
use crate::filter::{FilterError, Filters};
use crate::limits::{EVENT_BATCH, EVENT_BYTES, EVENT_QUEUE_BYTES};
use crate::names::Labels;
use crate::{Error, metadata};

/// The events on their way to one subscriber.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Arc<Envelope>>,
    bytes: usize,
    /// An event found no place: there will be no more.
    full: bool,
}

impl Queue {
    pub(super) fn push(&self, envelope: &Arc<Envelope>) {
        let mut waiting = self.lock();
        if waiting.full {
            return;
        }
        let bytes = waiting.bytes + weight(envelope);
        if bytes > EVENT_QUEUE_BYTES && !waiting.events.is_empty() {
            waiting.full = true;
        } else {
            waiting.bytes = bytes;
            waiting.events.push_back(Arc::clone(envelope));
        }
        drop(waiting);
        self.ready.notify_one();
    }

    /// The next events in their order, or `None` after the last one before the queue was full.
    fn take(&self) -> Option<Vec<Arc<Envelope>>> {
        let mut waiting = self.lock();
        if waiting.events.is_empty() && waiting.full {
            return None;
        }
        let count = waiting.events.len().min(EVENT_BATCH);
        let taken: Vec<_> = waiting.events.drain(..count).collect();
        waiting.bytes -= taken.iter().map(|envelope| weight(envelope)).sum::<usize>();
        Some(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About what an event takes in memory.
fn weight(envelope: &Envelope) -> usize {
    let label = |(key, value): (&String, &String)| EVENT_BYTES + key.len() + value.len();
    let labels = |labels: &Labels| labels.iter().map(label).sum::<usize>();
    let event = match &envelope.event {
        Event::ImageCreate { name, labels: of }
        | Event::ImageUpdate { name, labels: of }
        | Event::NamespaceCreate { name, labels: of }
        | Event::NamespaceUpdate { name, labels: of } => name.len() + labels(of),
        Event::ImageDelete { name } | Event::NamespaceDelete { name } => name.len(),
        Event::ContentCreate { digest, .. } | Event::ContentDelete { digest } => digest.len(),
        Event::SnapshotPrepare { key, parent, .. } => key.len() + parent.len(),
        Event::SnapshotCommit { key, name, .. } => key.len() + name.len(),
        Event::SnapshotRemove { key, .. } => key.len(),
        Event::Foreign { type_url, value } => type_url.len() + value.len(),
    };
    EVENT_BYTES + envelope.topic.len() + event
}

/// A subscriber's end of the exchange. It gets every event from its beginning on that matches its filters, in the order in
/// which they were published, or an error. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    filters: Arc<Filters>,
    /// Events that match.
    found: VecDeque<Arc<Envelope>>,
    /// Events that plugins are deciding about.
    deciding: Option<JoinHandle<Decided>>,
}

type Decided = Result<Vec<Seen>, FilterError>;

impl Subscription {
    pub(super) fn new(shared: Arc<Shared>, filters: Filters) -> Subscription {
        let queue = Arc::new(Queue::default());
        let subscribers = &shared.subscribers;
        let mut subscribers = subscribers.write().unwrap_or_else(PoisonError::into_inner);
        subscribers.push(Arc::clone(&queue));
        drop(subscribers);
        Subscription {
            queue,
            shared,
            filters: Arc::new(filters),
            found: VecDeque::new(),
            deciding: None,
        }
    }

    /// The next event; waits for one. A call that is given up loses nothing.
    ///
    /// # Errors
    /// [`Error::Lagged`] once more events waited than a queue holds, after those that it holds; [`Error::Filter`] if a filter
    /// plugin fails. Nothing comes after an error.
    pub async fn next(&mut self) -> Result<Arc<Envelope>, Error> {
        loop {
            if let Some(envelope) = self.found.pop_front() {
                return Ok(envelope);
            }
            if let Some(deciding) = &mut self.deciding {
                let decided = metadata::joined(deciding.await);
                self.deciding = None;
                self.found.extend(decided?.into_iter().map(Seen::into_envelope));
                continue;
            }
            let Some(taken) = self.queue.take() else {
                return Err(Error::Lagged {
                    limit: EVENT_QUEUE_BYTES,
                });
            };
            if taken.is_empty() {
                self.queue.ready.notified().await;
            } else {
                self.decide(taken)?;
            }
        }
    }

    fn decide(&mut self, taken: Vec<Arc<Envelope>>) -> Result<(), FilterError> {
        let decoder = self.shared.decoder.get();
        let seen = |envelope| Seen::new(envelope, decoder.cloned());
        let mut events: Vec<_> = taken.into_iter().map(seen).collect();
        if self.filters.has_plugins() {
            let filters = Arc::clone(&self.filters);
            let decide = move || filters.retain(&mut events).map(|()| events);
            self.deciding = Some(tokio::task::spawn_blocking(decide));
            return Ok(());
        }
        self.filters.retain(&mut events)?;
        self.found.extend(events.into_iter().map(Seen::into_envelope));
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let subscribers = &self.shared.subscribers;
        let mut subscribers = subscribers.write().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}
