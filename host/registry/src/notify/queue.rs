//! The events that wait for one endpoint, in the key-value store: `notify/<endpoint>/<number, 16 hex digits>`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;
use transom_meta::kv::{Durability, Kv, KvError, Outcome, Pair, Range, Transaction, Write};

use super::limits;

/// What all keys begin with.
const PREFIX: &str = "notify/";

/// A queue. Its numbers only grow, so an event that was recorded before another one began to be is told before it.
#[derive(Debug)]
pub(super) struct Queue {
    kv: Arc<dyn Kv>,
    all: Range,
    prefix: String,
    most: u64,
    next: AtomicU64,
    held: AtomicU64,
    /// Something has come.
    pub(super) arrived: Notify,
}

impl Queue {
    /// Counts what is there from the last run.
    pub(super) async fn open(kv: Arc<dyn Kv>, name: &str, most: u64) -> Result<Queue, KvError> {
        let prefix = format!("{PREFIX}{name}/");
        let all = Range::prefix(prefix.clone());
        let (held, last) = count(&*kv, &all).await?;
        let last = last.and_then(|key| number(&key, &prefix));
        Ok(Queue {
            kv,
            all,
            prefix,
            most,
            next: AtomicU64::new(last.map_or(0, |last| last + 1)),
            held: AtomicU64::new(held),
            arrived: Notify::new(),
        })
    }

    /// Takes a place for an event, if there is one. It is to be written, or [`lost`](Queue::lost).
    pub(super) fn reserve(&self, event: Bytes) -> Option<Write> {
        let room = |held| (held < self.most).then_some(held + 1);
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .ok()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Some(Write::Put {
            key: format!("{}{number:016x}", self.prefix).into(),
            value: event,
        })
    }

    /// An event for which a place was taken was not written.
    pub(super) fn lost(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many wait.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// The oldest events, up to `most` of them and the bytes of one request.
    pub(super) async fn oldest(&self, most: usize) -> Result<Vec<Pair>, KvError> {
        let mut pairs = self.kv.range(&self.all, most).await?;
        let mut bytes = 0;
        let fits = pairs.iter().take_while(|pair| {
            bytes += pair.value.len();
            bytes <= limits::BATCH_BYTES
        });
        let fits = fits.count().max(1);
        pairs.truncate(fits);
        Ok(pairs)
    }

    /// Forgets events that were told. If that itself is forgotten in a crash, they are told again.
    pub(super) async fn remove(&self, told: &[Pair]) -> Result<(), KvError> {
        let delete = |pair: &Pair| Write::Delete {
            key: pair.key.clone(),
        };
        commit(&*self.kv, told.iter().map(delete).collect(), Durability::Eventual).await?;
        self.held.fetch_sub(told.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Writes without a condition.
pub(super) async fn commit(kv: &dyn Kv, writes: Vec<Write>, durability: Durability) -> Result<(), KvError> {
    if writes.is_empty() {
        return Ok(());
    }
    let transaction = Transaction {
        conditions: Vec::new(),
        writes,
        durability,
    };
    match kv.commit(transaction).await? {
        Outcome::Committed => Ok(()),
        Outcome::Conflict => Err(KvError::Stopped {
            reason: "a transaction without conditions met a conflict".to_owned(),
        }),
    }
}

async fn count(kv: &dyn Kv, all: &Range) -> Result<(u64, Option<Bytes>), KvError> {
    let (mut held, mut last) = (0, None::<Bytes>);
    loop {
        let rest = last.as_ref().map_or_else(|| all.clone(), |key| all.after(key));
        let page = kv.range(&rest, limits::PAGE).await?;
        held += page.len() as u64;
        match page.last() {
            Some(pair) => last = Some(pair.key.clone()),
            None => return Ok((held, last)),
        }
    }
}

fn number(key: &[u8], prefix: &str) -> Option<u64> {
    let text = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
    u64::from_str_radix(text, 16).ok()
}

/// Deletes the events of endpoints that are not among `names`, and says how many each had.
pub(super) async fn forget_others(kv: &dyn Kv, names: &[&str]) -> Result<Vec<(String, u64)>, KvError> {
    let all = Range::prefix(PREFIX);
    let mut forgotten: Vec<(String, u64)> = Vec::new();
    let mut last = None::<Bytes>;
    loop {
        let rest = last.as_ref().map_or_else(|| all.clone(), |key| all.after(key));
        let page = kv.range(&rest, limits::PAGE).await?;
        let Some(end) = page.last() else {
            return Ok(forgotten);
        };
        last = Some(end.key.clone());
        let mut deletes = Vec::new();
        for pair in page {
            let name = endpoint(&pair.key).unwrap_or_default();
            if names.contains(&name) {
                continue;
            }
            match forgotten.last_mut().filter(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => forgotten.push((name.to_owned(), 1)),
            }
            deletes.push(Write::Delete { key: pair.key });
        }
        commit(kv, deletes, Durability::Eventual).await?;
    }
}

fn endpoint(key: &[u8]) -> Option<&str> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
    rest.split_once('/').map(|(name, _)| name)
}
