//! Manifests that are kept in memory. Their bytes never change under their digest; whether a repository still has one is asked
//! of the driver each time.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use transom_oci::Digest;

use super::manifests::Stored;
use crate::limits;
use crate::names::RepositoryName;

type Key = (RepositoryName, Digest);

/// Manifests by repository and digest, those that were used lately.
#[derive(Debug)]
pub(super) struct Cache {
    kept: Mutex<Kept>,
    limit: u64,
}

#[derive(Debug, Default)]
struct Kept {
    manifests: HashMap<Key, Slot>,
    /// In the order in which they may have to go.
    queue: VecDeque<Key>,
    bytes: u64,
}

#[derive(Debug)]
struct Slot {
    manifest: Arc<Stored>,
    /// Asked for since it was last in the front of the queue.
    used: AtomicBool,
}

impl Cache {
    pub(super) fn new(limit: u64) -> Cache {
        let kept = Mutex::default();
        Cache { kept, limit }
    }

    pub(super) fn get(&self, repository: &RepositoryName, digest: &Digest) -> Option<Arc<Stored>> {
        let kept = self.lock();
        let slot = kept.manifests.get(&(repository.clone(), digest.clone()))?;
        slot.used.store(true, Ordering::Relaxed);
        Some(Arc::clone(&slot.manifest))
    }

    pub(super) fn insert(&self, repository: &RepositoryName, manifest: Arc<Stored>) {
        let size = cost(&manifest);
        if size > limits::CACHED_MANIFEST {
            return;
        }
        let key = (repository.clone(), manifest.digest.clone());
        let used = AtomicBool::new(false);
        let mut kept = self.lock();
        let slot = Slot { manifest, used };
        match kept.manifests.insert(key.clone(), slot) {
            Some(old) => kept.bytes -= cost(&old.manifest),
            None => kept.queue.push_back(key),
        }
        kept.bytes += size;
        while kept.bytes > self.limit && kept.drop_one() {}
    }

    pub(super) fn remove(&self, repository: &RepositoryName, digest: &Digest) {
        let mut kept = self.lock();
        if let Some(slot) = kept.manifests.remove(&(repository.clone(), digest.clone())) {
            kept.bytes -= cost(&slot.manifest);
            kept.queue
                .retain(|(name, hash)| (name, hash) != (repository, digest));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Drops the one that was not used for longest, more or less.
    fn drop_one(&mut self) -> bool {
        while let Some(key) = self.queue.pop_front() {
            let Some(slot) = self.manifests.get(&key) else {
                continue;
            };
            if slot.used.swap(false, Ordering::Relaxed) {
                self.queue.push_back(key);
                continue;
            }
            self.bytes -= cost(&slot.manifest);
            self.manifests.remove(&key);
            return true;
        }
        false
    }
}

/// What one takes: its bytes and what is around them.
fn cost(manifest: &Stored) -> u64 {
    const AROUND: u64 = 512;
    manifest.bytes.len() as u64 + AROUND
}

#[cfg(test)]
mod tests {
    use super::*;
    use transom_oci::Algorithm;

    #[test]
    fn what_was_used_stays() {
        let name = RepositoryName::new("a").unwrap();
        let cache = Cache::new(3 * (512 + 1));
        let manifest = |byte: u8| {
            Arc::new(Stored {
                digest: Digest::of(Algorithm::Sha256, &[byte]),
                media_type: String::new(),
                bytes: vec![byte].into(),
            })
        };
        for byte in 0..3 {
            cache.insert(&name, manifest(byte));
        }
        assert!(cache.get(&name, &manifest(0).digest).is_some());
        cache.insert(&name, manifest(3));
        let there: Vec<bool> = (0..4)
            .map(|byte| cache.get(&name, &manifest(byte).digest).is_some())
            .collect();
        assert_eq!(there, [true, false, true, true]);
        cache.remove(&name, &manifest(0).digest);
        assert!(cache.get(&name, &manifest(0).digest).is_none());
        assert_eq!(cache.lock().bytes, 2 * 513);
        assert_eq!(cache.lock().queue.len(), 2);
        let other = RepositoryName::new("b").unwrap();
        assert!(cache.get(&other, &manifest(3).digest).is_none());
    }
}
