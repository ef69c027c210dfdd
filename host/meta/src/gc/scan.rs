//! The records, read into a graph page by page while others go on writing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message;

use super::graph::{Graph, Id, Mark};
use super::labels::{self, Conditional};
use super::resources::{Object, Resources};
use crate::key::{self, Kind};
use crate::kv::Range;
use crate::metadata::Inner;
use crate::names::{self, Namespace};
use crate::record::{ContentRecord, GraceRecord, ImageRecord, IngestRecord, LeaseRecord, time};
use crate::{Error, Node};

/// Reads what there is, and what keeps what.
pub(super) struct Scan<'r> {
    inner: &'r Inner,
    parts: &'r [Arc<dyn Resources>],
    now: SystemTime,
    pub(super) graph: Graph,
    /// The leases that have not expired, and how they keep their resources.
    leases: HashMap<Node, Mark>,
    conditionals: Vec<(Id, Conditional)>,
    used: HashMap<Node, SystemTime>,
    /// What leases and images kept that have expired.
    dropped: HashMap<Namespace, Vec<Node>>,
    /// Grace records whose time is over.
    pub(super) stale: Vec<(Bytes, GraceRecord)>,
}

impl<'r> Scan<'r> {
    pub(super) fn new(inner: &'r Inner, parts: &'r [Arc<dyn Resources>], now: SystemTime) -> Scan<'r> {
        Scan {
            inner,
            parts,
            now,
            graph: Graph::default(),
            leases: HashMap::new(),
            conditionals: Vec::new(),
            used: HashMap::new(),
            dropped: HashMap::new(),
            stale: Vec::new(),
        }
    }

    /// Reads everything and marks the roots.
    pub(super) async fn all(&mut self) -> Result<(), Error> {
        self.each(key::everywhere(Kind::Lease), Scan::lease).await?;
        self.resources().await?;
        self.each(key::everywhere(Kind::Image), Scan::image).await?;
        self.each(key::everywhere(Kind::Ingest), Scan::ingest).await?;
        self.each(key::everywhere(Kind::Content), Scan::content).await?;
        self.others().await?;
        // Now is known what they referred to; its grace is read only after it has ended.
        for (namespace, nodes) in std::mem::take(&mut self.dropped) {
            self.inner.end_grace(&namespace, nodes).await?;
        }
        self.each(key::everywhere(Kind::Grace), Scan::grace).await?;
        for (id, conditional) in std::mem::take(&mut self.conditionals) {
            if conditional.holds(self.used.get(&conditional.target).copied(), self.now) {
                self.graph.fulfil(id, &conditional);
            }
        }
        Ok(())
    }

    /// Every record of a range.
    async fn each<R: Message + Default>(
        &mut self,
        range: Range,
        see: fn(&mut Self, &Namespace, &str, R),
    ) -> Result<(), Error> {
        let mut rest = Some(range);
        while let Some(range) = rest {
            let (page, more) = self.inner.page::<R>(&range).await?;
            for (key, record) in page {
                let Some((namespace, name)) = key::parse(&key) else {
                    return Err(unreadable(&key));
                };
                see(self, &namespace, name, record);
            }
            rest = more;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn lease(&mut self, namespace: &Namespace, id: &str, record: LeaseRecord) {
        let LeaseRecord { labels, .. } = record;
        let node = Node::Lease(namespace.clone(), id.to_owned());
        let mut object = Object::new(node.clone());
        object.root = !labels::expired(&labels, self.now);
        if object.root {
            let flat = labels.contains_key(labels::FLAT);
            let mark = if flat { Mark::Flat } else { Mark::Full };
            self.leases.insert(node, mark);
        }
        self.graph.add(&object);
    }

    /// What the leases list. Of a lease that has come meanwhile all resources are touched.
    async fn resources(&mut self) -> Result<(), Error> {
        let mut range = Range::prefix("r/");
        loop {
            let pairs = self.inner.kv.range(&range, crate::limits::PAGE).await?;
            let Some(last) = pairs.last() else {
                return Ok(());
            };
            range = range.after(&last.key);
            for pair in &pairs {
                let Some((namespace, lease, kind, id)) = key::parse_resource(&pair.key) else {
                    return Err(unreadable(&pair.key));
                };
                let Some(node) = labels::resource(&namespace, kind, id) else {
                    continue;
                };
                match self.leases.get(&Node::Lease(namespace.clone(), lease.to_owned())) {
                    Some(&mark) => {
                        let id = self.graph.id(&node);
                        self.graph.mark(id, mark);
                    }
                    None => self.dropped.entry(namespace).or_default().push(node),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn image(&mut self, namespace: &Namespace, name: &str, record: ImageRecord) {
        let object = image(namespace, name, record, self.now);
        if !object.root {
            let mut nodes = object.references();
            nodes.extend(object.parts.iter().cloned());
            self.dropped
                .entry(namespace.clone())
                .or_default()
                .append(&mut nodes);
        }
        self.add(&object);
    }

    fn ingest(&mut self, namespace: &Namespace, reference: &str, record: IngestRecord) {
        let object = ingest(namespace, reference, record, self.now);
        self.graph.add(&object);
    }

    fn content(&mut self, namespace: &Namespace, name: &str, record: ContentRecord) {
        if let Some(object) = content(namespace, name, record) {
            self.add(&object);
        }
    }

    fn grace(&mut self, namespace: &Namespace, name: &str, record: GraceRecord) {
        if time(record.until) < self.now {
            self.stale.push((key::of(Kind::Grace, namespace, name), record));
        } else if let Ok(digest) = names::digest(name) {
            let id = self.graph.id(&Node::Content(namespace.clone(), digest));
            self.graph.mark(id, Mark::Full);
        }
    }

    /// What the other parts have.
    async fn others(&mut self) -> Result<(), Error> {
        for part in self.parts {
            part.scan(&mut |object| self.add(&object)).await?;
        }
        Ok(())
    }

    fn add(&mut self, object: &Object) {
        let id = self.graph.add(object);
        match &object.node {
            Node::Snapshot(..) => {
                if let Some(used) = labels::used_at(&object.labels) {
                    self.used.insert(object.node.clone(), used);
                }
            }
            node => {
                let found = labels::conditionals(node.namespace(), &object.labels);
                let found = found.into_iter().map(|conditional| (id, conditional));
                self.conditionals.extend(found);
            }
        }
    }

    /// Keeps a node that a transaction has touched, with what it refers to now. Its conditional references count.
    pub(super) async fn touched(&mut self, node: &Node) -> Result<(), Error> {
        let id = self.graph.id(node);
        self.graph.mark(id, Mark::Full);
        let Some(object) = find(self.inner, self.parts, node, self.now).await? else {
            return Ok(());
        };
        self.graph.add(&object);
        for conditional in labels::conditionals(node.namespace(), &object.labels) {
            self.graph.fulfil(id, &conditional);
        }
        Ok(())
    }
}

/// An object as it is now.
async fn find(
    inner: &Inner,
    parts: &[Arc<dyn Resources>],
    node: &Node,
    now: SystemTime,
) -> Result<Option<Object>, Error> {
    let key = |kind, name: &str| key::of(kind, node.namespace(), name);
    Ok(match node {
        Node::Content(namespace, digest) => {
            let record = inner.get(&key(Kind::Content, digest.as_str())).await?;
            record.and_then(|record| content(namespace, digest.as_str(), record))
        }
        Node::Image(namespace, name) => {
            let record = inner.get(&key(Kind::Image, name)).await?;
            record.map(|record| image(namespace, name, record, now))
        }
        Node::Ingest(namespace, reference) => {
            let record = inner.get(&key(Kind::Ingest, reference)).await?;
            record.map(|record| ingest(namespace, reference, record, now))
        }
        // What a lease keeps is touched by itself.
        Node::Lease(..) => None,
        Node::Snapshot(..) | Node::Other(..) => match parts.iter().find(|part| part.owns(node)) {
            Some(part) => part.find(node).await?,
            None => None,
        },
    })
}

fn image(namespace: &Namespace, name: &str, record: ImageRecord, now: SystemTime) -> Object {
    let target = names::digest(&record.digest).ok();
    let mut object = Object::new(Node::Image(namespace.clone(), name.to_owned()));
    object
        .parts
        .extend(target.map(|target| Node::Content(namespace.clone(), target)));
    object.root = !labels::expired(&record.labels, now);
    object.labels = record.labels;
    object
}

/// Without a time it is kept by a lease, or by nothing.
fn ingest(namespace: &Namespace, reference: &str, record: IngestRecord, now: SystemTime) -> Object {
    let IngestRecord {
        expires, expected, ..
    } = record;
    let expected = names::digest(&expected).ok();
    let mut object = Object::new(Node::Ingest(namespace.clone(), reference.to_owned()));
    object
        .parts
        .extend(expected.map(|digest| Node::Content(namespace.clone(), digest)));
    object.root = expires.is_some_and(|until| SystemTime::from(until) >= now);
    object
}

fn content(namespace: &Namespace, name: &str, record: ContentRecord) -> Option<Object> {
    let mut object = Object::new(Node::Content(namespace.clone(), names::digest(name).ok()?));
    object.labels = record.labels;
    Some(object)
}

fn unreadable(key: &[u8]) -> Error {
    Error::Record {
        key: key.escape_ascii().to_string(),
        reason: "its key has another form than those of this program".to_owned(),
    }
}
