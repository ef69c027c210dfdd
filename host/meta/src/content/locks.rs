//! Keeps the collector away from a blob between its place in the content store and its record.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockWriteGuard};
use transom_oci::Digest;

/// How many digests can be under way without some of them sharing a lock. Sharing one costs a collector's short wait.
const LOCKS: usize = 64;

/// A lock for each digest, or for a few of them. Whoever gives a digest's blob a record, or counts on it to be there until it
/// has one, holds it; the collector has it alone while it looks for records and removes the blob.
///
/// It is taken before a transaction is begun, never within one.
#[derive(Debug)]
pub(crate) struct DigestLocks {
    locks: Vec<Arc<RwLock<()>>>,
}

/// A digest held, by a request and by the transaction that it has begun.
pub(crate) type Held = Arc<OwnedRwLockReadGuard<()>>;

impl Default for DigestLocks {
    fn default() -> Self {
        let locks = (0..LOCKS).map(|_| Arc::default()).collect();
        DigestLocks { locks }
    }
}

impl DigestLocks {
    pub(crate) async fn hold(&self, digest: &Digest) -> Held {
        Arc::new(Arc::clone(self.of(digest)).read_owned().await)
    }

    pub(crate) async fn exclusive(&self, digest: &Digest) -> RwLockWriteGuard<'_, ()> {
        self.of(digest).write().await
    }

    fn of(&self, digest: &Digest) -> &Arc<RwLock<()>> {
        let mut hasher = DefaultHasher::new();
        digest.hash(&mut hasher);
        &self.locks[usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or_default()]
    }
}
