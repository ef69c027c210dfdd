//! Which keys requests are busy with: two requests for one key wait for each other, and the collector leaves both alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::Namespace;

/// A lock for each key that somebody is busy with. It is taken before a transaction is begun, never within one.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Mutex<HashMap<Place, Arc<RwLock<()>>>>,
}

/// A namespace and a key in it.
type Place = (Namespace, String);

/// Keys that nobody else changes until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    places: Vec<Place>,
    guards: Vec<Guard>,
}

#[derive(Debug)]
#[allow(dead_code, reason = "guards are held, not read")]
enum Guard {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Claims {
    /// Waits until nobody else has the keys in `alone`, and nobody changes those in `shared`. Empty keys are none.
    pub(super) async fn take(
        self: &Arc<Claims>,
        namespace: &Namespace,
        alone: &[&str],
        shared: &[&str],
    ) -> Claim {
        let mut claim = Claim {
            claims: Arc::clone(self),
            places: Vec::new(),
            guards: Vec::new(),
        };
        let alone = alone.iter().map(|key| (*key, false));
        let shared = shared.iter().map(|key| (*key, true));
        // In one order for everybody, so that no two wait for each other; and of one key, the stronger claim first.
        let mut keys: Vec<(&str, bool)> = alone.chain(shared).filter(|(key, _)| !key.is_empty()).collect();
        keys.sort_unstable();
        keys.dedup_by_key(|(key, _)| *key);
        for (key, shared) in keys {
            let place = (namespace.clone(), key.to_owned());
            let lock = Arc::clone(self.lock().entry(place.clone()).or_default());
            claim.places.push(place);
            claim.guards.push(if shared {
                Guard::Shared(lock.read_owned().await)
            } else {
                Guard::Alone(lock.write_owned().await)
            });
        }
        claim
    }

    /// Whether somebody is busy with a key, or waits to be.
    pub(super) fn has(&self, namespace: &Namespace, key: &str) -> bool {
        let held = self.lock();
        !held.is_empty() && held.contains_key(&(namespace.clone(), key.to_owned()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, Arc<RwLock<()>>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.guards.clear();
        let mut held = self.claims.lock();
        for place in &self.places {
            // New claims to it are made under the same lock: nobody has it, and nobody waits.
            if held.get(place).is_some_and(|lock| Arc::strong_count(lock) == 1) {
                held.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_changes_a_key_and_nothing_is_left() {
        let claims: Arc<Claims> = Arc::default();
        let ns = Namespace::new("ns").expect("a name");
        let first = claims.take(&ns, &["b", "a"], &["p", "a", ""]).await;
        assert!(claims.has(&ns, "a") && claims.has(&ns, "p") && !claims.has(&ns, ""));
        let second = claims.take(&ns, &["c"], &["p"]).await;
        let mut waiting = Box::pin(claims.take(&ns, &["p"], &[]));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        drop(waiting);
        drop(first);
        drop(second);
        assert!(claims.lock().is_empty());
    }
}
