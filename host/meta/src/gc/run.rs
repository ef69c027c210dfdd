//! One collection: marking beside the writers, removing in short steps between them.
//!
//! 1. The barrier is raised while no transaction is under way: from then on each one says what it touches.
//! 2. The records are read page by page, and what the roots reach is marked. Writers go on; what they change meanwhile may be
//!    read in its old or in its new state.
//! 3. In each exclusive step, what was touched since the last one is marked with all that it reaches now, and then a few
//!    of the objects that are still unmarked are removed. Whatever can be reached at that moment is marked: each
//!    reference on the way was there when it was read, or came later and was touched.
//! 4. Once that is on the disk, blobs and ingests without records are removed from the content store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::graph::Id;
use super::resources::Resources;
use super::scan::Scan;
use super::{Removed, Stats, blobs};
use crate::events::{Envelope, Event};
use crate::key::{self, Kind};
use crate::kv::{Durability, Transaction, Write};
use crate::limits::{GC_BATCH, GC_BATCH_LEAST, GC_BUDGET, GC_HOLD, GC_ROUNDS, GC_TOUCHED};
use crate::metadata::{Barrier, Inner};
use crate::record::{GraceRecord, IngestRecord};
use crate::transaction::{Tries, changes_images};
use crate::{Error, Node};

/// Runs one collection.
pub(super) async fn run(inner: &Inner, parts: &[Arc<dyn Resources>]) -> Result<Stats, Error> {
    let (started, clock) = (SystemTime::now(), Instant::now());
    let mut pauses = Pauses::default();
    let _barrier = pauses.raise(inner).await;
    let mut scan = Scan::new(inner, parts, started);
    scan.all().await?;
    let mut run = Run {
        inner,
        parts,
        scan,
        left: VecDeque::new(),
        batch: GC_BATCH_LEAST,
        pauses,
        removed: Removed::default(),
    };
    run.settle().await;
    run.left = run.scan.graph.garbage().into();
    run.remove().await?;
    run.forget_stale().await?;
    run.flush().await?;
    let metadata = clock.elapsed();
    let Run {
        scan,
        pauses,
        removed,
        ..
    } = run;
    let freed = blobs::sweep(inner, scan.graph).await?;
    for part in parts {
        part.cleanup().await?;
    }
    Ok(Stats {
        started,
        duration: clock.elapsed(),
        metadata,
        longest_pause: pauses.longest,
        pauses: pauses.count,
        paused: pauses.total,
        removed: Removed {
            blobs: freed.blobs,
            uploads: freed.ingests,
            ..removed
        },
        bytes: freed.bytes,
    })
}

struct Run<'r> {
    inner: &'r Inner,
    parts: &'r [Arc<dyn Resources>],
    scan: Scan<'r>,
    /// What may be removed, in order.
    left: VecDeque<(Id, Node)>,
    /// How many objects are removed in a step, by how long the last ones took.
    batch: usize,
    pauses: Pauses,
    removed: Removed,
}

impl Run<'_> {
    /// Marks all that can be reached, and lets others work in between.
    async fn settle(&mut self) {
        while !self.scan.graph.propagate(GC_BUDGET) {
            tokio::task::yield_now().await;
        }
    }

    /// Removes what is left, step by step.
    async fn remove(&mut self) -> Result<(), Error> {
        let mut rounds = 0;
        while !self.left.is_empty() {
            let gate = self.inner.gate.write().await;
            let start = Instant::now();
            let touched = self.inner.barrier.drain();
            // What takes long is done beside the writers, and then there is less to do. Unless they are faster than this.
            let late = touched.len() > GC_TOUCHED && rounds < GC_ROUNDS;
            let mut events = Vec::new();
            let mut settled = false;
            if !late {
                self.touch(&touched).await?;
                settled = self.scan.graph.propagate(GC_BUDGET);
                if settled {
                    events = self.batch().await?;
                }
            }
            let held = start.elapsed();
            drop(gate);
            self.pauses.note(held);
            let publish = |event| self.inner.events.send(event);
            events.into_iter().for_each(publish);
            if late {
                self.touch(&touched).await?;
            }
            if settled {
                rounds = 0;
                self.adapt(held);
            } else {
                rounds += 1;
                self.settle().await;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn touch(&mut self, nodes: &[Node]) -> Result<(), Error> {
        for node in nodes {
            self.scan.touched(node).await?;
        }
        Ok(())
    }

    fn adapt(&mut self, held: Duration) {
        self.batch = if held > GC_HOLD {
            (self.batch / 2).max(GC_BATCH_LEAST)
        } else {
            (self.batch + self.batch / 4 + 1).min(GC_BATCH)
        };
    }

    /// Removes the next few objects that nothing keeps; the gate is held. What to publish.
    async fn batch(&mut self) -> Result<Vec<Envelope>, Error> {
        let mut step = Step::default();
        let mut others = Vec::new();
        while step.objects < self.batch {
            let Some((id, node)) = self.left.pop_front() else {
                break;
            };
            if self.scan.graph.is_kept(id) {
                continue;
            }
            step.objects += 1;
            match node {
                Node::Lease(..) if !step.lease(self.inner, &node, self.batch).await? => {
                    self.left.push_front((id, node));
                    break;
                }
                Node::Lease(..) => self.removed.leases += 1,
                Node::Snapshot(..) | Node::Other(..) => others.push(node),
                node => step.record(self.inner, &node, &mut self.removed).await?,
            }
        }
        for part in self.parts {
            let (its, rest) = others.into_iter().partition(|node| part.owns(node));
            others = rest;
            self.others(part.as_ref(), its, &mut step).await?;
        }
        if !step.writes.is_empty() {
            self.commit(step.writes, Durability::Eventual).await?;
        }
        Ok(step.events)
    }

    async fn others(&mut self, part: &dyn Resources, nodes: Vec<Node>, step: &mut Step) -> Result<(), Error> {
        if nodes.is_empty() {
            return Ok(());
        }
        let mut removal = part.remove(&nodes).await?;
        step.writes.append(&mut removal.writes);
        step.events.append(&mut removal.events);
        for node in nodes {
            match node {
                Node::Snapshot(..) => self.removed.snapshots += 1,
                _ => self.removed.others += 1,
            }
        }
        Ok(())
    }

    /// Straight to the store: a transaction would wait for the gate that is held here. As no other one is under way, no
    /// condition is needed.
    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), Error> {
        let images = changes_images(&writes);
        let transaction = Transaction {
            conditions: Vec::new(),
            writes,
            durability,
        };
        self.inner.kv.commit(transaction).await?;
        self.inner.activity.images_changed(images);
        Ok(())
    }

    /// Grace records whose time is over, unless they have been renewed.
    async fn forget_stale(&mut self) -> Result<(), Error> {
        let stale = std::mem::take(&mut self.scan.stale);
        for stale in stale.chunks(GC_BATCH) {
            self.inner.forget(stale).await?;
        }
        Ok(())
    }

    /// Waits until the removals are on the disk: before that, no blob may go whose record could come back. The key does
    /// not exist; any durable transaction takes with it what was written before.
    async fn flush(&self) -> Result<(), Error> {
        let nothing = Write::Delete {
            key: Bytes::from_static(b"y"),
        };
        self.commit(vec![nothing], Durability::Durable).await
    }
}

impl Inner {
    async fn forget(&self, graces: &[(Bytes, GraceRecord)]) -> Result<(), Error> {
        let mut tries = Tries::new();
        loop {
            tries.next(|| "grace records".to_owned())?;
            let mut txn = self.begin().await;
            for (key, seen) in graces {
                if txn.get::<GraceRecord>(key).await?.as_ref() == Some(seen) {
                    txn.delete(key.clone());
                }
            }
            if txn.commit().await? {
                return Ok(());
            }
        }
    }
}

/// What one exclusive step removes.
#[derive(Default)]
struct Step {
    objects: usize,
    writes: Vec<Write>,
    events: Vec<Envelope>,
}

impl Step {
    fn delete(&mut self, key: Bytes) {
        self.writes.push(Write::Delete { key });
    }

    /// An image, an ingest, or content.
    async fn record(&mut self, inner: &Inner, node: &Node, removed: &mut Removed) -> Result<(), Error> {
        match node {
            Node::Image(namespace, name) => {
                removed.images += 1;
                self.delete(key::of(Kind::Image, namespace, name));
                let name = name.clone();
                let event = Event::ImageDelete { name };
                self.events.push(Envelope::now(namespace, event));
            }
            Node::Content(namespace, digest) => {
                removed.content += 1;
                self.delete(key::of(Kind::Content, namespace, digest.as_str()));
                self.delete(key::holder(digest, namespace));
                self.delete(key::of(Kind::Grace, namespace, digest.as_str()));
            }
            Node::Ingest(namespace, reference) => {
                removed.ingests += 1;
                let key = key::of(Kind::Ingest, namespace, reference);
                let record = inner.get::<IngestRecord>(&key).await?.unwrap_or_default();
                if !record.expected.is_empty() {
                    self.delete(key::expecter(&record.expected, namespace, reference));
                }
                self.delete(key);
            }
            Node::Lease(..) | Node::Snapshot(..) | Node::Other(..) => {}
        }
        Ok(())
    }

    /// A lease with what it lists; `false` if that is too much for one step: then the lease itself is still there.
    async fn lease(&mut self, inner: &Inner, node: &Node, limit: usize) -> Result<bool, Error> {
        let Node::Lease(namespace, id) = node else {
            return Ok(true);
        };
        let listed = inner.kv.range(&key::resources(namespace, id), limit).await?;
        let all = listed.len() < limit;
        self.objects += listed.len();
        listed.into_iter().for_each(|pair| self.delete(pair.key));
        if all {
            self.delete(key::of(Kind::Lease, namespace, id));
        }
        Ok(all)
    }
}

/// How long transactions had to wait.
#[derive(Default)]
struct Pauses {
    longest: Duration,
    total: Duration,
    count: u64,
}

impl Pauses {
    /// Raises the barrier while no transaction is under way.
    async fn raise<'b>(&mut self, inner: &'b Inner) -> Raised<'b> {
        let gate = inner.gate.write().await;
        let start = Instant::now();
        inner.barrier.raise();
        self.note(start.elapsed());
        drop(gate);
        Raised(&inner.barrier)
    }

    fn note(&mut self, held: Duration) {
        self.longest = self.longest.max(held);
        self.total += held;
        self.count += 1;
    }
}

/// Lowers the barrier, also when a run fails.
struct Raised<'b>(&'b Barrier);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.lower();
    }
}
