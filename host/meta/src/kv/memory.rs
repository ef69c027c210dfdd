//! A store in memory, for tests and for daemons that need to remember nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::broadcast;

use super::{Change, Condition, Kv, KvError, Outcome, Pair, Pending, Range, Stats, Transaction, Write};
use crate::limits::WATCH_CHANGES;

/// An ordered map behind a lock.
#[derive(Debug)]
pub struct Memory {
    pairs: RwLock<BTreeMap<Bytes, Bytes>>,
    changes: broadcast::Sender<Change>,
    transactions: AtomicU64,
    conflicts: AtomicU64,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            pairs: RwLock::default(),
            changes: broadcast::channel(WATCH_CHANGES).0,
            transactions: AtomicU64::default(),
            conflicts: AtomicU64::default(),
        }
    }
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Memory {
        Memory::default()
    }
}

impl Kv for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<Option<Bytes>, KvError>> {
        let pairs = self.pairs.read().unwrap_or_else(PoisonError::into_inner);
        let found = pairs.get(key).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn range<'a>(&'a self, range: &'a Range, limit: usize) -> Pending<'a, Result<Vec<Pair>, KvError>> {
        let pairs = self.pairs.read().unwrap_or_else(PoisonError::into_inner);
        let pair = |(key, value): (&Bytes, &Bytes)| Pair {
            key: key.clone(),
            value: value.clone(),
        };
        let found = within(&pairs, range).take(limit).map(pair).collect();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn commit(&self, transaction: Transaction) -> Pending<'_, Result<Outcome, KvError>> {
        let mut pairs = self.pairs.write().unwrap_or_else(PoisonError::into_inner);
        let holds = transaction.conditions.iter().all(|condition| match condition {
            Condition::Is { key, value } => pairs.get(key) == value.as_ref(),
            Condition::Empty { prefix } => within(&pairs, &Range::prefix(prefix.clone())).next().is_none(),
        });
        if !holds {
            self.conflicts.fetch_add(1, Ordering::Relaxed);
            return Box::pin(std::future::ready(Ok(Outcome::Conflict)));
        }
        self.transactions.fetch_add(1, Ordering::Relaxed);
        for write in transaction.writes {
            let change = match write {
                Write::Put { key, value } => {
                    pairs.insert(key.clone(), value.clone());
                    let value = Some(value);
                    Change { key, value }
                }
                Write::Delete { key } => {
                    pairs.remove(&key);
                    Change { key, value: None }
                }
            };
            // Nobody may be watching.
            let _ = self.changes.send(change);
        }
        Box::pin(std::future::ready(Ok(Outcome::Committed)))
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn size(&self) -> Pending<'_, Result<u64, KvError>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    fn stats(&self) -> Stats {
        Stats {
            transactions: self.transactions.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }
}

fn within<'a>(
    pairs: &'a BTreeMap<Bytes, Bytes>,
    range: &Range,
) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> {
    let end = range.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
    let empty = range.end.as_ref().is_some_and(|end| *end <= range.start);
    let start = Bound::Included(range.start.clone());
    (!empty).then(|| pairs.range((start, end))).into_iter().flatten()
}
