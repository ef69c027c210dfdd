//! What refers to what, and what has been reached.

use std::collections::{HashMap, HashSet};

use super::labels::Conditional;
use super::resources::Object;
use crate::Node;

/// How far an object is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// Nothing keeps it, as far as is known.
    #[default]
    None,
    /// By a flat lease: itself, and what it is made of.
    Flat,
    /// With everything that its labels name.
    Full,
}

/// By what one object keeps another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The one is made of the other: the mark is passed on as it is.
    Part,
    /// The one has a label that names the other.
    Label,
    /// The other has a label that names the one, which is enough if it is kept in any way.
    Back,
}

/// The place of an object in the graph.
pub(super) type Id = u32;

#[derive(Debug, Default)]
struct Vertex {
    /// Whether there is a record, or only a reference.
    there: bool,
    mark: Mark,
    edges: Vec<(Id, Kind)>,
}

/// All objects of all namespaces that matter to a collection. An object takes some 200 bytes.
#[derive(Debug, Default)]
pub(super) struct Graph {
    ids: HashMap<Node, Id>,
    vertices: Vec<Vertex>,
    /// Marked, but what they keep is not marked yet.
    grey: Vec<Id>,
}

impl Graph {
    pub(super) fn id(&mut self, node: &Node) -> Id {
        if let Some(&id) = self.ids.get(node) {
            return id;
        }
        // A store of four thousand million objects does not fit into this graph for other reasons.
        let id = Id::try_from(self.vertices.len()).unwrap_or(Id::MAX);
        self.vertices.push(Vertex::default());
        self.ids.insert(node.clone(), id);
        id
    }

    fn vertex(&mut self, id: Id) -> &mut Vertex {
        &mut self.vertices[id as usize]
    }

    /// Adds an object that there is, with everything it keeps.
    pub(super) fn add(&mut self, object: &Object) -> Id {
        let id = self.id(&object.node);
        self.vertex(id).there = true;
        for part in &object.parts {
            self.edge(id, part, Kind::Part);
        }
        for other in object.references() {
            self.edge(id, &other, Kind::Label);
        }
        for other in object.back_references() {
            let other = self.id(&other);
            self.connect(other, id, Kind::Back);
        }
        if let Some(lease) = object.lease() {
            let lease = self.id(&lease);
            self.connect(lease, id, Kind::Label);
        }
        if object.is_root() {
            self.mark(id, Mark::Full);
        }
        id
    }

    /// Counts a conditional reference as one.
    pub(super) fn fulfil(&mut self, id: Id, conditional: &Conditional) {
        self.edge(id, &conditional.target, Kind::Label);
    }

    fn edge(&mut self, from: Id, to: &Node, kind: Kind) {
        let to = self.id(to);
        self.connect(from, to, kind);
    }

    fn connect(&mut self, from: Id, to: Id, kind: Kind) {
        let vertex = self.vertex(from);
        vertex.edges.push((to, kind));
        // Of one that was marked before: what it keeps is looked at again.
        if vertex.mark != Mark::None {
            self.grey.push(from);
        }
    }

    /// Keeps an object, and soon what it keeps.
    pub(super) fn mark(&mut self, id: Id, mark: Mark) {
        let vertex = self.vertex(id);
        if vertex.mark < mark {
            vertex.mark = mark;
            self.grey.push(id);
        }
    }

    /// Follows the references of up to `budget` objects; whether all is marked that can be reached.
    pub(super) fn propagate(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            let Some(id) = self.grey.pop() else {
                return true;
            };
            let mark = self.vertex(id).mark;
            let edges = std::mem::take(&mut self.vertex(id).edges);
            for &(to, kind) in &edges {
                match kind {
                    Kind::Part => self.mark(to, mark),
                    Kind::Label if mark == Mark::Full => self.mark(to, Mark::Full),
                    Kind::Label => {}
                    Kind::Back => self.mark(to, Mark::Full),
                }
            }
            // Nothing refers to itself by then: `mark` pushes, and changes no edges.
            self.vertex(id).edges = edges;
        }
        self.grey.is_empty()
    }

    pub(super) fn is_kept(&self, id: Id) -> bool {
        self.vertices[id as usize].mark != Mark::None
    }

    /// Every object that there is, and whether it is kept.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&Node, bool)> {
        self.ids
            .iter()
            .filter(|(_, id)| self.vertices[**id as usize].there)
            .map(|(node, id)| (node, self.is_kept(*id)))
    }

    /// The objects that nothing keeps, whatever refers to others before those: as long as one of them is there, so is all that
    /// it refers to, and whoever finds it in the middle of the removal and refers to it has it whole. Cycles are cut
    /// somewhere. Leases come last.
    pub(super) fn garbage(&self) -> Vec<(Id, Node)> {
        let mut nodes: HashMap<Id, &Node> = HashMap::new();
        for (node, &id) in &self.ids {
            if self.vertices[id as usize].there && !self.is_kept(id) {
                nodes.insert(id, node);
            }
        }
        let mut sorted = Vec::with_capacity(nodes.len());
        for id in self.order(&nodes) {
            sorted.push((id, nodes[&id].clone()));
        }
        sorted.sort_by_key(|(_, node)| matches!(node, Node::Lease(..)));
        sorted
    }

    /// Depth first, and in the reverse of the order in which the searches end: only a reference that closes a cycle can lead
    /// back to what comes before it.
    fn order(&self, nodes: &HashMap<Id, &Node>) -> Vec<Id> {
        let mut seen = HashSet::with_capacity(nodes.len());
        let mut order = Vec::with_capacity(nodes.len());
        for &start in nodes.keys() {
            if !seen.insert(start) {
                continue;
            }
            let mut path = vec![(start, 0)];
            while let Some((id, next)) = path.last_mut() {
                let Some(&(to, _)) = self.vertices[*id as usize].edges.get(*next) else {
                    order.push(*id);
                    path.pop();
                    continue;
                };
                *next += 1;
                if nodes.contains_key(&to) && seen.insert(to) {
                    path.push((to, 0));
                }
            }
        }
        order.reverse();
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Namespace;

    fn node(name: &str) -> Node {
        Node::Image(Namespace::new("ns").expect("a name"), name.to_owned())
    }

    fn object(name: &str, parts: &[&str]) -> Object {
        let mut object = Object::new(node(name));
        object.parts = parts.iter().map(|part| node(part)).collect();
        object
    }

    #[test]
    fn what_refers_to_others_goes_before_them() {
        let mut graph = Graph::default();
        for (name, parts) in [
            ("a", &["b", "c"][..]),
            ("b", &["d"]),
            ("c", &["d", "gone"]),
            ("d", &[]),
            ("x", &["y"]),
            ("y", &["x", "z"]),
            ("z", &[]),
        ] {
            graph.add(&object(name, parts));
        }
        let order: Vec<Node> = graph.garbage().into_iter().map(|(_, node)| node).collect();
        assert_eq!(order.len(), 7);
        let place = |name| order.iter().position(|found| *found == node(name));
        for (before, after) in [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("y", "z")] {
            assert!(place(before) < place(after), "{before} {after} {order:?}");
        }
    }

    #[test]
    fn a_reference_that_comes_late_is_followed() {
        let mut graph = Graph::default();
        let a = graph.add(&object("a", &[]));
        let c = graph.add(&object("c", &[]));
        graph.add(&object("b", &["c"]));
        graph.mark(a, Mark::Full);
        assert!(graph.propagate(10));
        assert!(!graph.is_kept(c));
        graph.add(&object("a", &["b"]));
        assert!(graph.propagate(10));
        assert!(graph.is_kept(c));
    }
}
