//! Locks by name: whoever unpacks a layer holds the one of its snapshot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// All locks that somebody holds or waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Locks {
    named: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Locked {
    locks: Locks,
    name: String,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Locks {
    pub(super) async fn lock(&self, name: String) -> Locked {
        let lock = Arc::clone(self.named().entry(name.clone()).or_default());
        // Made before the wait: it tidies up if the wait is given up.
        let mut locked = Locked {
            locks: self.clone(),
            name,
            guard: None,
        };
        locked.guard = Some(lock.lock_owned().await);
        locked
    }

    fn named(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.guard = None;
        let mut named = self.locks.named();
        // Nobody else has it, and nobody can get it while the map is locked.
        if named
            .get(&self.name)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            named.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn locks_exclude_each_other_and_are_forgotten() {
        let locks = Locks::default();
        let first = locks.lock("a".to_owned()).await;
        let other = locks.lock("b".to_owned()).await;
        let second = tokio::spawn({
            let locks = locks.clone();
            async move { locks.lock("a".to_owned()).await }
        });
        while Arc::strong_count(&locks.named()["a"]) < 3 {
            tokio::task::yield_now().await;
        }
        assert!(!second.is_finished());
        let given_up = locks.lock("a".to_owned());
        let none = tokio::time::timeout(std::time::Duration::ZERO, given_up).await;
        assert!(none.is_err());
        drop(first);
        drop(second.await.expect("no panic"));
        drop(other);
        assert!(locks.named().is_empty());
    }
}
