//! What the layers so far add up to: the tree that unpacking them must give.

use std::collections::{BTreeMap, BTreeSet};

use super::layer::Meta;
use crate::tree::{Entry, Kind, Tree};

/// A file system in memory: names that point at files, so that hard links are one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    names: BTreeMap<Vec<u8>, usize>,
    files: Vec<(Kind, Meta)>,
}

impl Model {
    /// What a name stands for.
    pub(super) fn get(&self, path: &[u8]) -> Option<&(Kind, Meta)> {
        self.names.get(path).map(|file| &self.files[*file])
    }

    /// Puts a new file at a name. A directory over a directory keeps what is in it; everything else replaces.
    pub(super) fn put(&mut self, path: &[u8], kind: Kind, meta: Meta) {
        let keeps_children = kind == Kind::Dir && self.get(path).is_some_and(|(old, _)| *old == Kind::Dir);
        if !keeps_children {
            self.remove(path);
        }
        self.files.push((kind, meta));
        self.names.insert(path.to_vec(), self.files.len() - 1);
    }

    /// Gives a file another name.
    pub(super) fn link(&mut self, path: &[u8], to: &[u8]) -> bool {
        let Some(file) = self.names.get(to).copied() else {
            return false;
        };
        self.remove(path);
        self.names.insert(path.to_vec(), file);
        true
    }

    /// Removes a name and everything under it.
    pub(super) fn remove(&mut self, path: &[u8]) {
        self.names.remove(path);
        self.remove_children(path, &BTreeSet::new());
    }

    /// Removes what is under a name, except the names in `kept`.
    pub(super) fn remove_children(&mut self, path: &[u8], kept: &BTreeSet<Vec<u8>>) {
        let prefix = [path, b"/"].concat();
        self.names
            .retain(|name, _| !name.starts_with(&prefix) || kept.contains(name));
    }

    /// The record of it.
    pub(super) fn tree(&self) -> Tree {
        let mut names_of: BTreeMap<usize, Vec<&Vec<u8>>> = BTreeMap::new();
        for (name, file) in &self.names {
            names_of.entry(*file).or_default().push(name);
        }
        let entries = self
            .names
            .iter()
            .map(|(name, file)| {
                let (kind, meta) = &self.files[*file];
                let names = &names_of[file];
                let entry = Entry {
                    kind: kind.clone(),
                    mode: if matches!(kind, Kind::Symlink { .. }) {
                        0o777
                    } else {
                        meta.mode
                    },
                    uid: meta.uid,
                    gid: meta.gid,
                    mtime: meta.mtime,
                    mtime_nsec: meta.mtime_nsec,
                    xattrs: meta.xattrs.clone(),
                    link_group: (names.len() > 1).then(|| names[0].clone()),
                };
                (name.clone(), entry)
            })
            .collect();
        Tree { entries }
    }
}
