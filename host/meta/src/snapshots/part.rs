//! Snapshots in the collector's graph.

use std::sync::Arc;

use super::{Snapshots, sweep};
use crate::events::{Envelope, Event};
use crate::gc::{Object, Removal, Resources};
use crate::key::{self, Kind};
use crate::kv::{Pending, Write};
use crate::metadata::Inner;
use crate::names::Namespace;
use crate::record::SnapshotRecord;
use crate::{Error, Node};

/// The snapshots of all snapshotters, also of those that are not loaded: what their labels name is kept.
#[derive(Debug)]
pub(crate) struct Part {
    inner: Arc<Inner>,
}

impl Part {
    pub(crate) fn new(inner: &Arc<Inner>) -> Part {
        let inner = Arc::clone(inner);
        Part { inner }
    }

    fn object(&self, namespace: &Namespace, snapshotter: &str, name: &str, record: SnapshotRecord) -> Object {
        let node = |name: &str| Node::Snapshot(namespace.clone(), snapshotter.to_owned(), name.to_owned());
        let mut object = Object::new(node(name));
        if !record.parent.is_empty() {
            object.parts.push(node(&record.parent));
        }
        object.labels = record.labels;
        // A request is busy with it, or is about to let something stand on it.
        let loaded = self.inner.snapshotters.find(snapshotter);
        object.root = loaded.is_some_and(|loaded| loaded.claims.has(namespace, name));
        object
    }

    async fn record(&self, node: &Node) -> Result<Option<SnapshotRecord>, Error> {
        match node {
            Node::Snapshot(namespace, snapshotter, name) => {
                self.inner.get(&key::snapshot(namespace, snapshotter, name)).await
            }
            _ => Ok(None),
        }
    }

    async fn all(&self, add: &mut (dyn FnMut(Object) + Send)) -> Result<(), Error> {
        let mut rest = Some(key::everywhere(Kind::Snapshot));
        while let Some(range) = rest {
            let (page, more) = self.inner.page::<SnapshotRecord>(&range).await?;
            for (key, record) in page {
                let Some((namespace, snapshotter, name)) = key::parse_snapshot(&key) else {
                    return Err(Error::Record {
                        key: key.escape_ascii().to_string(),
                        reason: "its key is not one of a snapshot".to_owned(),
                    });
                };
                add(self.object(&namespace, snapshotter, name, record));
            }
            rest = more;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn removal(&self, nodes: &[Node]) -> Result<Removal, Error> {
        let mut removal = Removal::default();
        for node in nodes {
            let (Node::Snapshot(namespace, snapshotter, name), Some(record)) =
                (node, self.record(node).await?)
            else {
                continue;
            };
            let mut delete = |key| removal.writes.push(Write::Delete { key });
            delete(key::snapshot(namespace, snapshotter, name));
            if !record.parent.is_empty() {
                delete(key::child(namespace, snapshotter, &record.parent, name));
            }
            let event = Event::SnapshotRemove {
                key: name.clone(),
                snapshotter: snapshotter.clone(),
            };
            removal.events.push(Envelope::now(namespace, event));
            if let Some(loaded) = self.inner.snapshotters.find(snapshotter) {
                loaded.dirty.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        Ok(removal)
    }

    /// A snapshotter that fails is logged, and tried again at the next collection: the records of all others are in order.
    async fn sweep(&self) {
        for loaded in self.inner.snapshotters.all() {
            let snapshots = Snapshots {
                inner: Arc::clone(&self.inner),
                loaded,
            };
            if let Err(error) = sweep::after_collection(&snapshots).await {
                let snapshotter = snapshots.name();
                tracing::warn!(snapshotter, %error, "what was removed is still on the disk");
            }
        }
    }
}

impl Resources for Part {
    fn name(&self) -> &str {
        "snapshots"
    }

    fn owns(&self, node: &Node) -> bool {
        matches!(node, Node::Snapshot(..))
    }

    fn scan<'a>(&'a self, add: &'a mut (dyn FnMut(Object) + Send)) -> Pending<'a, Result<(), Error>> {
        Box::pin(self.all(add))
    }

    fn find<'a>(&'a self, node: &'a Node) -> Pending<'a, Result<Option<Object>, Error>> {
        Box::pin(async move {
            let record = self.record(node).await?;
            Ok(match (node, record) {
                (Node::Snapshot(namespace, snapshotter, name), Some(record)) => {
                    Some(self.object(namespace, snapshotter, name, record))
                }
                _ => None,
            })
        })
    }

    fn remove<'a>(&'a self, nodes: &'a [Node]) -> Pending<'a, Result<Removal, Error>> {
        Box::pin(self.removal(nodes))
    }

    fn cleanup(&self) -> Pending<'_, Result<(), Error>> {
        Box::pin(async move {
            self.sweep().await;
            Ok(())
        })
    }
}
