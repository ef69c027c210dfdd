//! Files with several names. The first name that is written gets the content, later ones are links to it; names that did
//! not change are remembered, because a new name may come later, and then all of them must be links.

use std::collections::HashMap;

use super::trail::{Facts, Trail};

/// Device and inode. (containerd goes by the inode alone, and so joins files of different file systems.)
pub(super) type Key = (u64, u64);

/// A folder above a remembered name.
struct Parent {
    facts: Facts,
    written: bool,
}

/// What is known of files with several names.
#[derive(Default)]
pub(super) struct Links {
    /// The first name written of each file.
    written: HashMap<Key, Vec<u8>>,
    /// Names that did not change, of files of which nothing is written.
    waiting: HashMap<Key, Vec<Vec<u8>>>,
    /// The folders above those.
    parents: HashMap<Vec<u8>, Parent>,
    /// Names in both maps.
    names: usize,
}

impl Links {
    /// The name under which the file was written.
    pub(super) fn source(&self, key: Key) -> Option<&[u8]> {
        self.written.get(&key).map(Vec::as_slice)
    }

    /// How many names are remembered.
    pub(super) fn names(&self) -> usize {
        self.names
    }

    /// Notes that the file is written as `path`; answers the names that must be linked to it now.
    pub(super) fn wrote(&mut self, key: Key, path: Vec<u8>) -> Vec<Vec<u8>> {
        self.names += 1;
        self.written.insert(key, path);
        self.waiting.remove(&key).unwrap_or_default()
    }

    /// Remembers the unchanged name `path` in the folder where `trail` stands.
    pub(super) fn remember(&mut self, key: Key, path: Vec<u8>, trail: &Trail) {
        self.names += 1;
        self.waiting.entry(key).or_default().push(path);
        for (folder, step) in trail.steps() {
            if !self.parents.contains_key(folder) {
                let parent = Parent {
                    facts: step.facts.clone(),
                    written: step.written,
                };
                self.parents.insert(folder.to_vec(), parent);
            }
        }
    }

    /// Notes that a folder's entry is written.
    pub(super) fn wrote_folder(&mut self, path: &[u8]) {
        if let Some(parent) = self.parents.get_mut(path) {
            parent.written = true;
        }
    }

    /// What is known of a folder above a remembered name whose entry is not written yet.
    pub(super) fn unwritten(&self, folder: &[u8]) -> Option<&Facts> {
        let parent = self.parents.get(folder)?;
        (!parent.written).then_some(&parent.facts)
    }
}
