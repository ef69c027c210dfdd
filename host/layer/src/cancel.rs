//! Stopping a job from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A request to stop, shared by everything that works on one job. Clones are the same request.
#[derive(Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

type Hook = Box<dyn Fn() + Send>;

#[derive(Default)]
struct Shared {
    requested: AtomicBool,
    next: AtomicU64,
    hooks: Mutex<BTreeMap<u64, Hook>>,
}

impl Cancel {
    /// A request that nobody has made yet.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Asks everything on the job to stop.
    pub fn cancel(&self) {
        self.shared.requested.store(true, Ordering::SeqCst);
        for hook in self.shared.hooks().values() {
            hook();
        }
    }

    /// Whether the request was made.
    pub fn is_requested(&self) -> bool {
        self.shared.requested.load(Ordering::SeqCst)
    }

    /// Runs `hook` when the request is made, or at once if it was; for what waits where it cannot look, such as a
    /// child process. The hook is forgotten when the returned guard is dropped.
    pub fn on_cancel(&self, hook: impl Fn() + Send + 'static) -> CancelHook {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let mut hooks = self.shared.hooks();
        if self.is_requested() {
            hook();
        }
        hooks.insert(id, Box::new(hook));
        drop(hooks);
        CancelHook {
            shared: Arc::clone(&self.shared),
            id,
        }
    }
}

impl Shared {
    fn hooks(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Hook>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel")
            .field("requested", &self.is_requested())
            .finish()
    }
}

/// Keeps a hook of [`Cancel::on_cancel`] in place.
#[must_use = "the hook is forgotten when this is dropped"]
pub struct CancelHook {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for CancelHook {
    fn drop(&mut self) {
        self.shared.hooks().remove(&self.id);
    }
}

impl fmt::Debug for CancelHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHook")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn hooks_run_once_asked_and_not_after_they_are_dropped() {
        let cancel = Cancel::new();
        let count = Arc::new(AtomicUsize::new(0));
        let hook = |count: &Arc<AtomicUsize>| {
            let count = Arc::clone(count);
            move || {
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        let kept = cancel.on_cancel(hook(&count));
        drop(cancel.on_cancel(hook(&count)));
        assert!(!cancel.is_requested());
        cancel.cancel();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let late = cancel.clone().on_cancel(hook(&count));
        assert_eq!(count.load(Ordering::SeqCst), 2, "a late hook runs at once");
        drop((kept, late));
    }
}
