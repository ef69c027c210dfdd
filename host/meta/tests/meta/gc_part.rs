//! A part with snapshots that are nowhere, for tests of the collector.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use transom_meta::gc::{Object, Removal, Resources};
use transom_meta::kv::Pending;
use transom_meta::{Error, Labels, Node};

use crate::records::namespace;

#[derive(Default)]
pub(crate) struct Fake {
    objects: Mutex<BTreeMap<Node, Object>>,
    fails: AtomicBool,
    cleanups: AtomicU64,
}

pub(crate) fn snapshot(name: &str) -> Node {
    Node::Snapshot(namespace("testing"), "fake".to_owned(), name.to_owned())
}

impl Fake {
    pub(crate) fn add(&self, name: &str, parent: Option<&str>, labels: Labels) {
        let mut object = Object::new(snapshot(name));
        object.parts = parent.into_iter().map(snapshot).collect();
        object.labels = labels;
        self.insert(object);
    }

    /// A snapshot that lives as long as a lease.
    pub(crate) fn lease(&self, name: &str, lease: &str) {
        let mut object = Object::new(snapshot(name));
        object.lease = Some(lease.to_owned());
        self.insert(object);
    }

    pub(crate) fn insert(&self, object: Object) {
        self.objects.lock().unwrap().insert(object.node.clone(), object);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let name = |node: &Node| match node {
            Node::Snapshot(_, _, name) => name.clone(),
            other => format!("{other:?}"),
        };
        self.objects.lock().unwrap().keys().map(name).collect()
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    pub(crate) fn cleanups(&self) -> u64 {
        self.cleanups.load(Ordering::Relaxed)
    }
}

impl Resources for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn owns(&self, node: &Node) -> bool {
        matches!(node, Node::Snapshot(_, snapshotter, _) if snapshotter == "fake")
            || matches!(node, Node::Other(..))
    }

    fn scan<'a>(&'a self, add: &'a mut (dyn FnMut(Object) + Send)) -> Pending<'a, Result<(), Error>> {
        if self.fails.load(Ordering::Relaxed) {
            let what = "the fake part is broken".to_owned();
            return Box::pin(std::future::ready(Err(Error::Invalid { what })));
        }
        let objects: Vec<Object> = self.objects.lock().unwrap().values().cloned().collect();
        objects.into_iter().for_each(add);
        Box::pin(std::future::ready(Ok(())))
    }

    fn find<'a>(&'a self, node: &'a Node) -> Pending<'a, Result<Option<Object>, Error>> {
        let found = self.objects.lock().unwrap().get(node).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn remove<'a>(&'a self, nodes: &'a [Node]) -> Pending<'a, Result<Removal, Error>> {
        let mut objects = self.objects.lock().unwrap();
        for node in nodes {
            objects.remove(node).unwrap();
        }
        Box::pin(std::future::ready(Ok(Removal::default())))
    }

    fn cleanup(&self) -> Pending<'_, Result<(), Error>> {
        self.cleanups.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(())))
    }
}
