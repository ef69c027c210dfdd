//! What is recorded of snapshots, and under which keys. `docs/formats/snapshots.md` has the same with examples.
//!
//! | key | record |
//! |---|---|
//! | `p/<snapshotter>/k/<key>` | a snapshot |
//! | `p/<snapshotter>/c/<length of parent, 4 hex digits><parent>/<key>` | mark: this snapshot stands on that parent |
//! | `p/<snapshotter>/n` | counter: the next id |

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use transom_meta::kv::{Condition, Durability, Kv, KvError, Outcome, Range, Transaction, Write};
use transom_meta::names::Labels;
use transom_meta::record::{self, CounterRecord, Time, decode, encode};
use transom_meta::snapshots::{Info, Kind, SnapshotError, Usage};

use crate::error::records;
use crate::limits;

/// A snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SnapshotRecord {
    /// The name of its folder.
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// 1 view, 2 active, 3 committed, as in containerd.
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(string, tag = "3")]
    pub(crate) parent: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(message, optional, tag = "5")]
    pub(crate) created: Option<Time>,
    #[prost(message, optional, tag = "6")]
    pub(crate) updated: Option<Time>,
    /// Bytes that it took when it was committed.
    #[prost(uint64, tag = "7")]
    size: u64,
    /// Inodes, likewise.
    #[prost(uint64, tag = "8")]
    inodes: u64,
    /// The ids of the snapshots below it, nearest first: neither they nor their order can change while it exists.
    #[prost(uint64, repeated, tag = "9")]
    pub(crate) below: Vec<u64>,
}

impl SnapshotRecord {
    pub(crate) fn new(id: u64, kind: Kind, parent: &str, below: Vec<u64>, labels: Labels) -> SnapshotRecord {
        let now = Some(std::time::SystemTime::now().into());
        SnapshotRecord {
            id,
            kind: number(kind),
            parent: parent.to_owned(),
            labels,
            created: now,
            updated: now,
            size: 0,
            inodes: 0,
            below,
        }
    }

    /// The same snapshot, committed.
    pub(crate) fn committed(&self, usage: Usage, labels: Labels) -> SnapshotRecord {
        SnapshotRecord {
            size: usage.size,
            inodes: usage.inodes,
            ..SnapshotRecord::new(self.id, Kind::Committed, &self.parent, self.below.clone(), labels)
        }
    }

    /// Itself and what is below, for a snapshot that stands on it.
    pub(crate) fn stack(&self) -> Vec<u64> {
        std::iter::once(self.id)
            .chain(self.below.iter().copied())
            .collect()
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.kind {
            1 => Kind::View,
            2 => Kind::Active,
            _ => Kind::Committed,
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            size: self.size,
            inodes: self.inodes,
        }
    }

    pub(crate) fn info(self, name: &str) -> Info {
        Info {
            kind: self.kind(),
            name: name.to_owned(),
            parent: self.parent,
            labels: self.labels,
            created: record::time(self.created),
            updated: record::time(self.updated),
        }
    }
}

fn number(kind: Kind) -> u32 {
    match kind {
        Kind::View => 1,
        Kind::Active => 2,
        Kind::Committed => 3,
    }
}

/// The records of one snapshotter.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    kv: Arc<dyn Kv>,
    snapshotter: &'static str,
}

impl Records {
    pub(crate) fn new(kv: Arc<dyn Kv>, snapshotter: &'static str) -> Records {
        Records { kv, snapshotter }
    }

    /// The key of a snapshot.
    pub(crate) fn key(&self, key: &str) -> Bytes {
        format!("p/{}/k/{key}", self.snapshotter).into()
    }

    /// The key that says that `key` stands on `parent`.
    pub(crate) fn child(&self, parent: &str, key: &str) -> Bytes {
        format!("p/{}/c/{:04x}{parent}/{key}", self.snapshotter, parent.len()).into()
    }

    fn counter(&self) -> Bytes {
        format!("p/{}/n", self.snapshotter).into()
    }

    /// A snapshot, outside of any transaction.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<SnapshotRecord>, SnapshotError> {
        let key = self.key(key);
        let value = self.kv.get(&key).await.map_err(records)?;
        let record = value.as_deref().map(|value| decode(&key, value));
        record.transpose().map_err(records)
    }

    /// The first `limit` snapshots after a key, with their keys.
    pub(crate) async fn page(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, SnapshotRecord)>, SnapshotError> {
        let prefix = self.key("");
        let all = Range::prefix(prefix.clone());
        let range = match after {
            Some(after) => all.after(&self.key(after)),
            None => all,
        };
        let pairs = self.kv.range(&range, limit).await.map_err(records)?;
        let read = |pair: &transom_meta::kv::Pair| {
            let name = String::from_utf8_lossy(&pair.key[prefix.len()..]).into_owned();
            decode(&pair.key, &pair.value).map(|record| (name, record))
        };
        pairs.iter().map(read).collect::<Result<_, _>>().map_err(records)
    }

    /// Whether any snapshot stands on this one.
    pub(crate) async fn has_children(&self, parent: &str) -> Result<bool, SnapshotError> {
        let range = Range::prefix(self.child(parent, ""));
        Ok(!self.kv.range(&range, 1).await.map_err(records)?.is_empty())
    }

    /// The next id of which nothing is known; none if none was ever given out.
    pub(crate) async fn next_id(&self) -> Result<Option<u64>, SnapshotError> {
        let key = self.counter();
        let value = self.kv.get(&key).await.map_err(records)?;
        let counter = value.as_deref().map(|value| decode::<CounterRecord>(&key, value));
        Ok(counter.transpose().map_err(records)?.map(|counter| counter.next))
    }

    /// Reserves ids that were never given out before, also not before a crash.
    pub(crate) async fn reserve_ids(&self) -> Result<std::ops::Range<u64>, SnapshotError> {
        let key = self.counter();
        for _ in 0..transom_meta::limits::TRIES {
            let value = self.kv.get(&key).await.map_err(records)?;
            let counter = value.as_deref().map(|value| decode::<CounterRecord>(&key, value));
            let first = counter
                .transpose()
                .map_err(records)?
                .map_or(1, |counter| counter.next);
            let next = first + limits::ID_BLOCK;
            let mut txn = self.begin();
            txn.conditions.push(Condition::Is {
                key: key.clone(),
                value,
            });
            txn.put(key.clone(), &CounterRecord { next });
            if txn.commit().await.map_err(records)? {
                return Ok(first..next);
            }
        }
        Err(self.contended("the ids"))
    }

    /// Begins a transaction.
    pub(crate) fn begin(&self) -> Txn<'_> {
        Txn {
            records: self,
            conditions: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// The error of a transaction that lost too often.
    pub(crate) fn contended(&self, what: &str) -> SnapshotError {
        let object = format!("{what} of the snapshotter {}", self.snapshotter);
        records(transom_meta::Error::Contended { object })
    }
}

/// Reads and writes that happen together or not at all; only if what was read is still the same.
pub(crate) struct Txn<'r> {
    records: &'r Records,
    conditions: Vec<Condition>,
    writes: Vec<Write>,
}

impl Txn<'_> {
    /// Reads a snapshot. Does not see this transaction's writes.
    pub(crate) async fn get(&mut self, key: &str) -> Result<Option<SnapshotRecord>, SnapshotError> {
        let key = self.records.key(key);
        let value = self.records.kv.get(&key).await.map_err(records)?;
        let record = value.as_deref().map(|value| decode(&key, value)).transpose();
        self.conditions.push(Condition::Is { key, value });
        record.map_err(records)
    }

    /// The transaction happens only if nothing stands on this snapshot then.
    pub(crate) fn require_no_children(&mut self, parent: &str) {
        self.conditions.push(Condition::Empty {
            prefix: self.records.child(parent, ""),
        });
    }

    fn put(&mut self, key: Bytes, record: &impl Message) {
        let value = encode(record);
        self.writes.push(Write::Put { key, value });
    }

    /// Writes a snapshot, and that it stands on its parent.
    pub(crate) fn write(&mut self, key: &str, record: &SnapshotRecord) {
        self.put(self.records.key(key), record);
        if !record.parent.is_empty() {
            let key = self.records.child(&record.parent, key);
            let value = Bytes::from_static(&[record::VERSION]);
            self.writes.push(Write::Put { key, value });
        }
    }

    /// Writes a snapshot that stays what and where it is.
    pub(crate) fn rewrite(&mut self, key: &str, record: &SnapshotRecord) {
        self.put(self.records.key(key), record);
    }

    /// Removes a snapshot, and that it stands on its parent.
    pub(crate) fn erase(&mut self, key: &str, record: &SnapshotRecord) {
        let mut delete = |key| self.writes.push(Write::Delete { key });
        delete(self.records.key(key));
        if !record.parent.is_empty() {
            delete(self.records.child(&record.parent, key));
        }
    }

    /// Does it. `false` if something that was read has changed: begin again. When `true` is returned, it is durable.
    pub(crate) async fn commit(self) -> Result<bool, KvError> {
        let transaction = Transaction {
            conditions: self.conditions,
            writes: self.writes,
            durability: Durability::Durable,
        };
        Ok(self.records.kv.commit(transaction).await? == Outcome::Committed)
    }
}
