//! The folders of the upper tree from the root to where the walk stands.

use transom_sys::Stat;

/// What the entry of a folder says.
#[derive(Clone)]
pub(super) struct Facts {
    pub(super) stat: Stat,
    pub(super) capability: Option<Vec<u8>>,
}

/// One folder on the way.
pub(super) struct Step {
    /// Bytes of its path.
    end: usize,
    pub(super) facts: Facts,
    /// Whether its entry is in the layer.
    pub(super) written: bool,
}

/// The way; empty at the root.
#[derive(Default)]
pub(super) struct Trail {
    path: Vec<u8>,
    steps: Vec<Step>,
}

impl Trail {
    /// The path of `name` in the folder where the trail ends.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len() + 1 + name.len());
        path.extend_from_slice(&self.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// The path of the folder where the trail ends; empty for the root.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Goes into a folder whose entry is not written.
    pub(super) fn push(&mut self, name: &[u8], facts: Facts) {
        self.path = self.path_of(name);
        let end = self.path.len();
        self.steps.push(Step {
            end,
            facts,
            written: false,
        });
    }

    /// Goes up one folder.
    pub(super) fn pop(&mut self) {
        self.steps.pop();
        self.path.truncate(self.steps.last().map_or(0, |step| step.end));
    }

    /// The folders with their paths, from the top down.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&[u8], &Step)> {
        self.steps.iter().map(|step| (&self.path[..step.end], step))
    }

    /// The first folder whose entry is not written, by its number.
    pub(super) fn first_unwritten(&self) -> Option<usize> {
        // They are written from the top down.
        let written = self.steps.iter().rev().take_while(|step| !step.written).count();
        let first = self.steps.len() - written;
        (written > 0).then_some(first)
    }

    /// How many folders there are.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// A folder by its number, with its path.
    pub(super) fn step(&self, index: usize) -> (&[u8], &Step) {
        let step = &self.steps[index];
        (&self.path[..step.end], step)
    }

    /// Notes that a folder's entry is written.
    pub(super) fn wrote(&mut self, index: usize) {
        self.steps[index].written = true;
    }

    /// The number of the folder `path`, if it is on the trail.
    pub(super) fn index_of(&self, path: &[u8]) -> Option<usize> {
        let index = self.steps.partition_point(|step| step.end < path.len());
        let (found, _) = (index < self.steps.len()).then(|| self.step(index))?;
        (found == path).then_some(index)
    }
}
