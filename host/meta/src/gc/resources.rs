//! How other parts (snapshots, streams, mounts) take part in a collection.

use super::labels;
use crate::events::Envelope;
use crate::kv::{Pending, Write};
use crate::names::Labels;
use crate::{Error, Node};

/// A part that has objects of its own which keep others, are kept, or are removed.
///
/// Every transaction that makes one of them, changes it, or lets something refer to it touches its node.
pub trait Resources: Send + Sync + 'static {
    /// Its name, for logs and errors.
    fn name(&self) -> &str;

    /// Whether this node is one of its objects, existing or not.
    fn owns(&self, node: &Node) -> bool;

    /// Hands every object that there is to `add`. Nothing is locked meanwhile; what changes may be seen or not.
    fn scan<'a>(&'a self, add: &'a mut (dyn FnMut(Object) + Send)) -> Pending<'a, Result<(), Error>>;

    /// An object as it is now, if there is one.
    fn find<'a>(&'a self, node: &'a Node) -> Pending<'a, Result<Option<Object>, Error>>;

    /// Removes objects, or says what to write so that they are removed, and what to publish afterwards. All
    /// transactions wait: it must be done within a millisecond, and must not begin one. What takes longer is for
    /// [`cleanup`](Resources::cleanup).
    fn remove<'a>(&'a self, nodes: &'a [Node]) -> Pending<'a, Result<Removal, Error>>;

    /// Called at the end of each run, when nothing waits for it but those who asked for the run: removes what the
    /// removed objects left.
    fn cleanup(&self) -> Pending<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a part writes and publishes for the objects that it removes.
#[derive(Debug, Default)]
pub struct Removal {
    /// Deletions of records.
    pub writes: Vec<Write>,
    /// Such as `/snapshot/remove`.
    pub events: Vec<Envelope>,
}

/// An object in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub node: Node,
    /// Its labels: those for the collector are followed.
    pub labels: Labels,
    /// What it is made of, such as the parent of a snapshot: kept with it by a flat lease, too.
    pub parts: Vec<Node>,
    /// Whether it is kept, whatever refers to it. The label `containerd.io/gc.root` says the same.
    pub root: bool,
    /// The lease that it lives and goes with, if any.
    pub lease: Option<String>,
}

impl Object {
    /// An object that nothing keeps and that keeps nothing.
    #[must_use]
    pub fn new(node: Node) -> Object {
        Object {
            node,
            labels: Labels::new(),
            parts: Vec::new(),
            root: false,
            lease: None,
        }
    }

    pub(super) fn references(&self) -> Vec<Node> {
        labels::references(self.node.namespace(), &self.labels)
    }

    pub(super) fn back_references(&self) -> Vec<Node> {
        labels::back_references(self.node.namespace(), &self.labels)
    }

    pub(super) fn lease(&self) -> Option<Node> {
        let lease = self.lease.clone()?;
        Some(Node::Lease(self.node.namespace().clone(), lease))
    }

    /// An image is a root by itself; the label is for content, snapshots and what other parts have.
    pub(super) fn is_root(&self) -> bool {
        let label = self
            .labels
            .get(labels::ROOT)
            .is_some_and(|value| !value.is_empty());
        self.root || label && !matches!(self.node, Node::Image(..))
    }
}
