//! Every key and record: whether it can be read, and whether what it belongs to is there.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use prost::Message;
use transom_oci::Digest;

use super::repair::Found;
use super::{Counts, Problem};
use crate::key::{self, Kind};
use crate::kv::{Kv, Pair, Range, Write};
use crate::names::{self, Namespace};
use crate::record::{
    self, ContentRecord, CounterRecord, GraceRecord, ImageRecord, IngestRecord, LeaseRecord, NamespaceRecord,
    SnapshotRecord, decode, encode,
};
use crate::{Error, limits, migration};

/// What is recorded of blobs and ingests.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) counts: Counts,
    /// Whether the store says which version it has: without that, nothing is known of what belongs to it.
    pub(super) versioned: bool,
    /// Which namespaces have a blob, and with which size. No size: the record cannot be read.
    pub(super) content: HashMap<Digest, Vec<(Namespace, Option<u64>)>>,
    /// The ingests, by their ref in the content store.
    pub(super) ingests: HashMap<String, Ingest>,
    /// Blobs that ingests wait to be given.
    pub(super) expected: HashSet<Digest>,
    /// The snapshots.
    pub(super) snapshots: Vec<Snapshot>,
}

/// A recorded snapshot.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) namespace: Namespace,
    pub(super) snapshotter: String,
    pub(super) key: String,
    pub(super) parent: String,
    /// Its key in the snapshotter.
    pub(super) backend: String,
}

/// A recorded ingest.
#[derive(Debug)]
pub(super) struct Ingest {
    pub(super) namespace: Namespace,
    pub(super) reference: String,
    /// The blob that it shares.
    pub(super) expected: Option<Digest>,
}

/// What has been read, while more is.
struct Reading<'f> {
    records: Records,
    found: &'f mut Vec<Found>,
    /// Marks whose objects have not been seen.
    holders: HashSet<Bytes>,
    expecters: HashSet<Bytes>,
    children: HashSet<Bytes>,
    leases: HashSet<Bytes>,
    namespaces: HashSet<Namespace>,
    used: BTreeSet<Namespace>,
    next: u64,
}

impl Records {
    /// Reads everything.
    pub(super) async fn read(kv: &dyn Kv, found: &mut Vec<Found>) -> Result<Records, Error> {
        let mut reading = Reading {
            records: Records {
                versioned: migration::is_current(kv).await?,
                ..Records::default()
            },
            found,
            holders: HashSet::new(),
            expecters: HashSet::new(),
            children: HashSet::new(),
            leases: HashSet::new(),
            namespaces: HashSet::new(),
            used: BTreeSet::new(),
            next: 0,
        };
        let mut range = Range::prefix("");
        loop {
            let pairs = kv.range(&range, limits::PAGE).await?;
            let Some(last) = pairs.last() else { break };
            range = range.after(&last.key);
            for pair in &pairs {
                reading.pair(pair);
            }
        }
        Ok(reading.end())
    }

    /// Whether anything wants this blob.
    pub(super) fn wants(&self, digest: &Digest) -> bool {
        self.content.contains_key(digest) || self.expected.contains(digest)
    }
}

impl Snapshot {
    /// The key of its mark at its parent, if it has one.
    pub(super) fn child(&self) -> Option<Bytes> {
        let has_parent = !self.parent.is_empty();
        has_parent.then(|| key::child(&self.namespace, &self.snapshotter, &self.parent, &self.key))
    }

    /// The writes that remove what is known of it.
    pub(super) fn without(&self) -> Vec<Write> {
        let own = key::snapshot(&self.namespace, &self.snapshotter, &self.key);
        let keys = [own].into_iter().chain(self.child());
        keys.map(|key| Write::Delete { key }).collect()
    }
}

/// The key of an ingest's mark for the blob that it shares.
fn expecter(digest: &Digest, ingest: &Ingest) -> Bytes {
    key::expecter(digest.as_str(), &ingest.namespace, &ingest.reference)
}

/// The writes that remove what is known of a namespace's content.
pub(super) fn without_content(namespace: &Namespace, digest: &Digest) -> Vec<Write> {
    let keys = [
        key::of(Kind::Content, namespace, digest.as_str()),
        key::holder(digest, namespace),
        key::of(Kind::Grace, namespace, digest.as_str()),
    ];
    keys.map(|key| Write::Delete { key }).into()
}

/// The writes that remove what is known of an ingest.
pub(super) fn without_ingest(ingest: &Ingest) -> Vec<Write> {
    let own = key::of(Kind::Ingest, &ingest.namespace, &ingest.reference);
    let mark = ingest.expected.as_ref().map(|digest| expecter(digest, ingest));
    let keys = [own].into_iter().chain(mark);
    keys.map(|key| Write::Delete { key }).collect()
}

/// The write that makes a namespace known.
fn unlabelled(namespace: &Namespace) -> Write {
    Write::Put {
        key: key::namespace(namespace),
        value: encode(&NamespaceRecord::default()),
    }
}

fn mark(key: Bytes) -> Write {
    let value = Bytes::from_static(&[record::VERSION]);
    Write::Put { key, value }
}

impl Reading<'_> {
    /// One pair. They come in the order of their keys: marks of blobs before content and ingests, those of snapshots before
    /// snapshots, and leases before their resources; grace records after content.
    fn pair(&mut self, pair: &Pair) {
        self.records.counts.records += 1;
        let known = match pair.key.as_ref() {
            key::VERSION => Some(()),
            key::SEQUENCE => {
                self.next = self.decode::<CounterRecord>(pair).unwrap_or_default().next;
                Some(())
            }
            [b'b', b'/', ..] => key::parse_holder(&pair.key).map(|_| {
                self.holders.insert(pair.key.clone());
            }),
            [b'e', b'/', ..] => {
                self.expecters.insert(pair.key.clone());
                Some(())
            }
            [b'c', b'/', ..] => self.content(pair),
            [b'g', b'/', ..] => self.ingest(pair),
            [b'i', b'/', ..] => self.image(pair),
            [b'l', b'/', ..] => self.lease(pair),
            [b'n', b'/', ..] => self.namespace(pair),
            [b'r', b'/', ..] => self.resource(pair),
            [b'k', b'/', ..] => key::parse_child(&pair.key).map(|_| {
                self.children.insert(pair.key.clone());
            }),
            [b's', b'/', ..] => self.snapshot(pair),
            [b'y', b'/', ..] => self.grace(pair),
            // Those of snapshotters are their own.
            [b'p', b'/', ..] => Some(()),
            _ => None,
        };
        if known.is_none() {
            let problem = unreadable(&pair.key, "its key has no form that this program knows");
            self.found.push(Found::left(
                problem,
                "another program, or a newer one, may have written it",
            ));
        }
    }

    /// The record, or a finding whose cure is to remove it.
    fn decode<R: Message + Default>(&mut self, pair: &Pair) -> Option<R> {
        let key = pair.key.clone();
        self.decode_or(pair, |problem| {
            Found::remove(problem, vec![Write::Delete { key }])
        })
    }

    /// The record, or a finding with its cure.
    fn decode_or<R: Message + Default>(
        &mut self,
        pair: &Pair,
        cure: impl FnOnce(Problem) -> Found,
    ) -> Option<R> {
        let error = match decode::<R>(&pair.key, &pair.value) {
            Ok(record) => return Some(record),
            Err(Error::Record { reason, .. }) => reason,
            Err(error) => error.to_string(),
        };
        let problem = unreadable(&pair.key, &error);
        let newer = pair
            .value
            .first()
            .is_some_and(|version| *version > record::VERSION);
        self.found.push(if newer {
            Found::left(problem, "a newer program may have written it")
        } else {
            cure(problem)
        });
        None
    }

    fn uses(&mut self, namespace: Namespace) {
        self.used.insert(namespace);
    }

    fn content(&mut self, pair: &Pair) -> Option<()> {
        let (namespace, name) = key::parse(&pair.key)?;
        let digest = names::digest(name).ok()?;
        self.records.counts.content += 1;
        let record = self.decode_or::<ContentRecord>(pair, |problem| {
            Found::remove(problem, without_content(&namespace, &digest))
        });
        let holder = key::holder(&digest, &namespace);
        if !self.holders.remove(&holder) && record.is_some() {
            let (namespace, digest) = (namespace.clone(), digest.clone());
            let problem = Problem::NoHolder { namespace, digest };
            self.found.push(Found::write(problem, vec![mark(holder)]));
        }
        self.uses(namespace.clone());
        let of = self.records.content.entry(digest).or_default();
        of.push((namespace, record.map(|record| record.size)));
        Some(())
    }

    fn ingest(&mut self, pair: &Pair) -> Option<()> {
        let (namespace, reference) = key::parse(&pair.key)?;
        self.records.counts.ingests += 1;
        self.uses(namespace.clone());
        let Some(record) = self.decode::<IngestRecord>(pair) else {
            return Some(());
        };
        let ingest = Ingest {
            expected: names::digest(&record.expected).ok(),
            reference: reference.to_owned(),
            namespace,
        };
        if let Some(digest) = &ingest.expected {
            let expecter = expecter(digest, &ingest);
            if !self.expecters.remove(&expecter) {
                let (namespace, reference) = (ingest.namespace.clone(), ingest.reference.clone());
                let problem = Problem::NoExpecter { namespace, reference };
                self.found.push(Found::write(problem, vec![mark(expecter)]));
            }
            self.records.expected.insert(digest.clone());
        }
        self.records.ingests.insert(record.backend, ingest);
        Some(())
    }

    fn snapshot(&mut self, pair: &Pair) -> Option<()> {
        let (namespace, snapshotter, key) = key::parse_snapshot(&pair.key)?;
        self.records.counts.snapshots += 1;
        self.uses(namespace.clone());
        let Some(record) = self.decode::<SnapshotRecord>(pair) else {
            return Some(());
        };
        let snapshot = Snapshot {
            namespace,
            snapshotter: snapshotter.to_owned(),
            key: key.to_owned(),
            parent: record.parent,
            backend: record.backend,
        };
        if let Some(child) = snapshot.child()
            && !self.children.remove(&child)
        {
            let problem = Problem::NoChild {
                namespace: snapshot.namespace.clone(),
                snapshotter: snapshot.snapshotter.clone(),
                key: snapshot.key.clone(),
            };
            self.found.push(Found::write(problem, vec![mark(child)]));
        }
        self.records.snapshots.push(snapshot);
        Some(())
    }

    fn image(&mut self, pair: &Pair) -> Option<()> {
        let (namespace, _) = key::parse(&pair.key)?;
        self.records.counts.images += 1;
        self.uses(namespace);
        self.decode::<ImageRecord>(pair);
        Some(())
    }

    fn lease(&mut self, pair: &Pair) -> Option<()> {
        let (namespace, _) = key::parse(&pair.key)?;
        self.records.counts.leases += 1;
        self.uses(namespace);
        // One that cannot be read is there; with its record its resources become dangling, and the next check says so.
        self.decode::<LeaseRecord>(pair);
        self.leases.insert(pair.key.clone());
        Some(())
    }

    fn namespace(&mut self, pair: &Pair) -> Option<()> {
        let namespace = key::parse_namespace(&pair.key)?;
        self.records.counts.namespaces += 1;
        // Its labels are lost, but not what lies under it.
        self.decode_or::<NamespaceRecord>(pair, |problem| {
            Found::write(problem, vec![unlabelled(&namespace)])
        });
        self.namespaces.insert(namespace);
        Some(())
    }

    fn resource(&mut self, pair: &Pair) -> Option<()> {
        let (namespace, lease, ..) = key::parse_resource(&pair.key)?;
        let owner = key::of(Kind::Lease, &namespace, lease);
        if !self.leases.contains(&owner) {
            self.dangling(&pair.key, format!("lease {lease:?}"));
        }
        Some(())
    }

    fn grace(&mut self, pair: &Pair) -> Option<()> {
        let (namespace, name) = key::parse(&pair.key)?;
        let digest = names::digest(name).ok()?;
        let content = self.records.content.get(&digest);
        if content.is_none_or(|of| of.iter().all(|(owner, _)| *owner != namespace)) {
            self.dangling(&pair.key, format!("content {digest}"));
        } else {
            self.decode::<GraceRecord>(pair);
        }
        Some(())
    }

    fn dangling(&mut self, key: &Bytes, missing: String) {
        let problem = Problem::Dangling {
            key: key.escape_ascii().to_string(),
            missing,
        };
        let writes = vec![Write::Delete { key: key.clone() }];
        self.found.push(Found::remove(problem, writes));
    }

    fn end(mut self) -> Records {
        if !self.records.versioned && self.records.counts.records > 0 {
            let reason = "only a person can know whether these are all the records";
            self.found.push(Found::left(Problem::NoVersion, reason));
        }
        for holder in std::mem::take(&mut self.holders) {
            if let Some((digest, namespace)) = key::parse_holder(&holder) {
                self.dangling(&holder, format!("content {digest} in namespace {namespace}"));
            }
        }
        for expecter in std::mem::take(&mut self.expecters) {
            self.dangling(&expecter, "ingest that waits for this blob".to_owned());
        }
        for child in std::mem::take(&mut self.children) {
            self.dangling(&child, "snapshot that stands on this one".to_owned());
        }
        for namespace in self.used.difference(&self.namespaces.iter().cloned().collect()) {
            let writes = vec![unlabelled(namespace)];
            let namespace = namespace.clone();
            self.found
                .push(Found::write(Problem::NoNamespace { namespace }, writes));
        }
        self.sequence();
        self.records
    }

    fn sequence(&mut self) {
        let number = |backend: &String| backend.split('/').nth(1)?.parse::<u64>().ok();
        let snapshots = self.records.snapshots.iter().map(|snapshot| &snapshot.backend);
        let used = self
            .records
            .ingests
            .keys()
            .chain(snapshots)
            .filter_map(number)
            .max();
        if let Some(used) = used.filter(|used| *used >= self.next) {
            let next = self.next;
            let writes = vec![Write::Put {
                key: Bytes::from_static(key::SEQUENCE),
                value: encode(&CounterRecord {
                    next: used.saturating_add(1),
                }),
            }];
            self.found
                .push(Found::write(Problem::Sequence { next, used }, writes));
        }
    }
}

fn unreadable(key: &[u8], reason: &str) -> Problem {
    Problem::Unreadable {
        key: key.escape_ascii().to_string(),
        reason: reason.to_owned(),
    }
}
