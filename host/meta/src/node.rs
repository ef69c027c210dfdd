//! What the garbage collector keeps or removes: a node of the graph of references.

use transom_oci::Digest;

use crate::names::Namespace;

/// An object that refers to others or is referred to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// Content of a namespace.
    Content(Namespace, Digest),
    /// An image.
    Image(Namespace, String),
    /// A lease.
    Lease(Namespace, String),
    /// An ingest, by the client's ref.
    Ingest(Namespace, String),
    /// A snapshot: snapshotter, key.
    Snapshot(Namespace, String, String),
    /// Something of a part that keeps its own records, such as a stream: kind, id.
    Other(Namespace, &'static str, String),
}

impl Node {
    /// The namespace it belongs to.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        match self {
            Node::Content(namespace, _)
            | Node::Image(namespace, _)
            | Node::Lease(namespace, _)
            | Node::Ingest(namespace, _)
            | Node::Snapshot(namespace, ..)
            | Node::Other(namespace, ..) => namespace,
        }
    }
}
