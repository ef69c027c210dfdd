//! What must not happen at the same time in one repository: that a manifest is deleted with its tags, and that a tag is set to
//! it. Other instances on the same store are not kept apart; there the last one wins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::names::RepositoryName;

/// A lock for each repository that somebody works on.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<RepositoryName, Weak<RwLock<()>>>>);

impl Locks {
    /// To set tags: others may do so too.
    pub(super) async fn shared(&self, name: &RepositoryName) -> OwnedRwLockReadGuard<()> {
        self.of(name).read_owned().await
    }

    /// To delete: nobody else does anything meanwhile.
    pub(super) async fn alone(&self, name: &RepositoryName) -> OwnedRwLockWriteGuard<()> {
        self.of(name).write_owned().await
    }

    fn of(&self, name: &RepositoryName) -> Arc<RwLock<()>> {
        /// From so many on, those that nobody has any more are dropped.
        const MANY: usize = 1_000;
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        if locks.len() >= MANY {
            locks.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::new(RwLock::new(()));
        locks.insert(name.clone(), Arc::downgrade(&lock));
        lock
    }
}
