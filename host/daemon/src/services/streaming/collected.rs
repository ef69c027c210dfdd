//! Pipes as the collector sees them: one without a lease is kept until it ends, one with a lease as long as that; and what
//! refers to a pipe by `containerd.io/gc.ref.stream` keeps it, too.

use transom_meta::gc::{Object, Removal, Resources};
use transom_meta::kv::Pending;
use transom_meta::{Error, Node};

use super::{Key, Slot, Streams};

/// What nodes of pipes are called; the name in labels.
const KIND: &str = "stream";

fn object((namespace, id): &Key, slot: &Slot) -> Object {
    let mut object = Object::new(Node::Other(namespace.clone(), KIND, id.clone()));
    object.root = slot.lease.is_none();
    object.lease = slot.lease.clone();
    object
}

fn key(node: &Node) -> Option<Key> {
    match node {
        Node::Other(namespace, KIND, id) => Some((namespace.clone(), id.clone())),
        _ => None,
    }
}

impl Resources for Streams {
    fn name(&self) -> &str {
        "streams"
    }

    fn owns(&self, node: &Node) -> bool {
        key(node).is_some()
    }

    fn scan<'a>(&'a self, add: &'a mut (dyn FnMut(Object) + Send)) -> Pending<'a, Result<(), Error>> {
        let objects: Vec<Object> = self.lock().iter().map(|(key, slot)| object(key, slot)).collect();
        objects.into_iter().for_each(add);
        Box::pin(std::future::ready(Ok(())))
    }

    fn find<'a>(&'a self, node: &'a Node) -> Pending<'a, Result<Option<Object>, Error>> {
        let found = key(node).and_then(|key| {
            let pipes = self.lock();
            Some(object(&key, pipes.get(&key)?))
        });
        Box::pin(std::future::ready(Ok(found)))
    }

    fn remove<'a>(&'a self, nodes: &'a [Node]) -> Pending<'a, Result<Removal, Error>> {
        let mut removed = Vec::new();
        {
            let mut pipes = self.lock();
            for key in nodes.iter().filter_map(key) {
                removed.extend(pipes.remove(&key));
            }
        }
        // After the lock is gone: dropping a pipe wakes others.
        drop(removed);
        Box::pin(std::future::ready(Ok(Removal::default())))
    }
}
