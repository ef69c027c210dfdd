//! What this layer has unpacked, so that its whiteouts spare it.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};

/// The names that this layer created, as one number each: a hash of the folder's inode and the name, with a key of this
/// process, so that no archive can be made to collide. A million entries take about 16 MB.
///
/// Entries are never taken out: a name that was removed and is there again was created by this layer again.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    key: RandomState,
    names: HashSet<u64, BuildHasherDefault<AlreadyHashed>>,
}

impl Unpacked {
    /// Notes that `name` in the folder with the inode `folder` is this layer's.
    pub(super) fn add(&mut self, folder: u64, name: &[u8]) {
        self.names.insert(self.key.hash_one((folder, name)));
    }

    /// Whether [`Unpacked::add`] was called for this name.
    pub(super) fn contains(&self, folder: u64, name: &[u8]) -> bool {
        self.names.contains(&self.key.hash_one((folder, name)))
    }
}

/// Numbers that are hashes already are taken as they are.
#[derive(Debug, Default)]
pub(super) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
