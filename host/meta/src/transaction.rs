//! Read, check, write: a transaction that fails if anything it has read was changed meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio::sync::OwnedRwLockReadGuard;

use crate::content::Held;
use crate::events::Envelope;
use crate::kv::{Condition, Durability, Outcome, Range, Transaction, Write};
use crate::metadata::{Inner, joined};
use crate::names::Namespace;
use crate::record::{self, NamespaceRecord, decode, encode};
use crate::{Error, Node, key, limits};

/// Reads and writes that happen together or not at all.
///
/// It holds the collector's gate open for as long as it lives: a collection's short exclusive steps wait for it.
pub(crate) struct Txn<'m> {
    inner: &'m Inner,
    conditions: Vec<Condition>,
    writes: Vec<Write>,
    touched: Vec<Node>,
    events: Vec<Envelope>,
    removed: u64,
    held: Option<Held>,
    gate: OwnedRwLockReadGuard<()>,
}

impl<'m> Txn<'m> {
    pub(crate) async fn begin(inner: &'m Inner) -> Txn<'m> {
        Txn {
            inner,
            conditions: Vec::new(),
            writes: Vec::new(),
            touched: Vec::new(),
            events: Vec::new(),
            removed: 0,
            held: None,
            gate: Arc::clone(&inner.gate).read_owned().await,
        }
    }

    /// Reads a record; the transaction happens only if it is still the same then. Does not see this transaction's writes.
    pub(crate) async fn get<R: Message + Default>(&mut self, key: &Bytes) -> Result<Option<R>, Error> {
        let value = self.inner.kv.get(key).await?;
        let record = value.as_deref().map(|value| decode(key, value)).transpose();
        self.conditions.push(Condition::Is {
            key: key.clone(),
            value,
        });
        record
    }

    /// Whether a key without a record is there; the transaction happens only if that is still so then.
    pub(crate) async fn has(&mut self, key: &Bytes) -> Result<bool, Error> {
        let value = self.inner.kv.get(key).await?;
        let there = value.is_some();
        self.conditions.push(Condition::Is {
            key: key.clone(),
            value,
        });
        Ok(there)
    }

    /// The transaction happens only if nothing lies in the range of this prefix then.
    pub(crate) fn require_empty(&mut self, prefix: &Range) {
        self.conditions.push(Condition::Empty {
            prefix: prefix.start.clone(),
        });
    }

    /// Makes sure that the namespace is recorded, and stays: a write in a namespace makes it, and stops its deletion.
    pub(crate) async fn enter(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let key = key::namespace(namespace);
        let found = self.get::<NamespaceRecord>(&key).await?;
        if found.as_ref().is_none_or(|record| record.closing != 0) {
            let labels = found.unwrap_or_default().labels;
            self.put(key, &NamespaceRecord { labels, closing: 0 });
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, key: Bytes, record: &impl Message) {
        let value = encode(record);
        self.writes.push(Write::Put { key, value });
    }

    /// Writes a key that is its own record.
    pub(crate) fn mark(&mut self, key: Bytes) {
        let value = Bytes::from_static(&[record::VERSION]);
        self.writes.push(Write::Put { key, value });
    }

    pub(crate) fn delete(&mut self, key: Bytes) {
        self.writes.push(Write::Delete { key });
    }

    /// A node that this transaction creates, or lets something refer to: a collection under way keeps it. Call it for every
    /// such node, or the collector may remove what was just referred to.
    pub(crate) fn touch(&mut self, node: Node) {
        self.touched.push(node);
    }

    /// Counts an object or a reference that is removed, which makes a collection worth while.
    pub(crate) fn removes(&mut self) {
        self.removed += 1;
    }

    /// Holds a digest until this has happened, also if the request is given up meanwhile.
    pub(crate) fn holds(&mut self, digest: Held) {
        self.held = Some(digest);
    }

    /// An event to publish once this has happened.
    pub(crate) fn publish(&mut self, event: Envelope) {
        self.events.push(event);
    }

    /// Does it. `false` if something that was read has changed: begin again. When `true` is returned, it is durable.
    pub(crate) async fn commit(self) -> Result<bool, Error> {
        self.commit_as(Durability::Durable).await
    }

    /// As [`commit`](Self::commit), for what may be lost.
    pub(crate) async fn commit_as(self, durability: Durability) -> Result<bool, Error> {
        if self.writes.is_empty() {
            return Ok(true);
        }
        // Before the change can be seen: the collector drains this only while no transaction is under way.
        self.inner.barrier.touch(self.touched);
        let transaction = Transaction {
            conditions: self.conditions,
            writes: self.writes,
            durability,
        };
        let kv = Arc::clone(&self.inner.kv);
        let activity = Arc::clone(&self.inner.activity);
        let exchange = self.inner.events.clone();
        let (events, removed, held, gate) = (self.events, self.removed, self.held, self.gate);
        // A task of its own: a client that hangs up takes its request away, but not what the store has already been given.
        // Until that has happened the gate stays shut for the collector, and afterwards the event must come.
        let task = tokio::spawn(async move {
            let images = changes_images(&transaction.writes);
            let outcome = kv.commit(transaction).await;
            if matches!(outcome, Ok(Outcome::Committed)) {
                activity.count(removed);
                activity.images_changed(images);
                events.into_iter().for_each(|event| exchange.send(event));
            }
            drop((gate, held));
            outcome
        });
        Ok(joined(task.await)? == Outcome::Committed)
    }
}

/// Whether some of these are images.
pub(crate) fn changes_images(writes: &[Write]) -> bool {
    writes.iter().any(|write| key::is_image(write.key()))
}

/// Counts the tries of one request.
pub(crate) struct Tries {
    left: u32,
}

impl Tries {
    pub(crate) fn new() -> Tries {
        Tries { left: limits::TRIES }
    }

    /// To be called before each try; `object` is what is to be changed.
    pub(crate) fn next(&mut self, object: impl FnOnce() -> String) -> Result<(), Error> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| Error::Contended { object: object() })?;
        Ok(())
    }
}
