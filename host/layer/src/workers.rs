//! Threads that stay for the next layer.
//!
//! A layer takes four threads and more, and an image may have a hundred small layers. Starting a thread costs some thirty
//! microseconds and a dozen system calls (stack, signal stack, allocator arena), which is more than a small layer's own work.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::limits::IDLE_THREADS;

/// What a thread is given: something to do, and the way to give it more, which it hands back when it is done.
struct Task {
    work: Box<dyn FnOnce() + Send>,
    more: Sender<Task>,
}

type Idle = Mutex<Vec<Sender<Task>>>;

/// Threads for whatever must run at the same time: there is no limit on how many, so work may wait for other work. Clones
/// share the threads. Of those that are idle a few are kept ([`IDLE_THREADS`]), until the last clone is gone.
#[derive(Clone, Default)]
pub struct Workers {
    idle: Arc<Idle>,
}

/// Work on its way.
#[derive(Debug)]
pub struct Running<T> {
    result: Receiver<T>,
}

impl Workers {
    /// No threads yet.
    pub fn new() -> Workers {
        Workers::default()
    }

    /// Runs `work` on a thread of its own.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
        let (sender, result) = bounded(1);
        let work = Box::new(move || {
            // A panic is reported by its absence; that nobody waits for the result is fine.
            if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
                drop(sender.send(value));
            }
        });
        let more = lock(&self.idle)
            .pop()
            .unwrap_or_else(|| start(Arc::downgrade(&self.idle)));
        // Whoever is idle waits for a task, so this finds room.
        drop(more.send(Task {
            work,
            more: more.clone(),
        }));
        Running { result }
    }
}

impl<T> Running<T> {
    /// Waits for the result; `None` if the work panicked.
    pub fn join(self) -> Option<T> {
        self.result.recv().ok()
    }
}

fn start(idle: Weak<Idle>) -> Sender<Task> {
    let (sender, tasks) = bounded::<Task>(1);
    thread::spawn(move || {
        for Task { work, more } in tasks {
            work();
            let Some(idle) = idle.upgrade() else { return };
            let mut idle = lock(&idle);
            if idle.len() >= IDLE_THREADS {
                return;
            }
            idle.push(more);
        }
    });
    sender
}

fn lock(idle: &Idle) -> MutexGuard<'_, Vec<Sender<Task>>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("idle", &lock(&self.idle).len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn work_that_waits_for_other_work_gets_through() {
        let workers = Workers::new();
        let (sender, receiver) = bounded::<u32>(0);
        let waiting = workers.run(move || receiver.recv().unwrap());
        let sending = workers.run(move || sender.send(7).unwrap());
        assert_eq!((waiting.join(), sending.join()), (Some(7), Some(())));
    }

    #[test]
    fn threads_are_used_again_and_survive_a_panic() {
        let workers = Workers::new();
        let mut seen = BTreeSet::new();
        for round in 0..20 {
            let id = workers.run(move || {
                assert!(round != 3, "on purpose");
                format!("{:?}", thread::current().id())
            });
            seen.extend(id.join());
            // The thread is idle a moment after its result is there.
            while lock(&workers.idle).is_empty() {
                thread::yield_now();
            }
        }
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn only_so_many_idle_threads_are_kept() {
        let workers = Workers::new();
        let (sender, receiver) = bounded::<()>(0);
        let held: Vec<_> = (0..IDLE_THREADS + 3)
            .map(|_| {
                let receiver = receiver.clone();
                workers.run(move || {
                    let _ = receiver.recv();
                })
            })
            .collect();
        drop(sender);
        assert!(held.into_iter().all(|running| running.join().is_some()));
        while lock(&workers.idle).len() < IDLE_THREADS {
            thread::yield_now();
        }
        assert_eq!(lock(&workers.idle).len(), IDLE_THREADS);
    }

    #[test]
    fn idle_threads_end_with_the_last_clone() {
        let workers = Workers::new();
        let (sender, receiver) = bounded::<()>(0);
        let held = workers.run(move || thread_local_guard(sender));
        held.join();
        drop(workers);
        assert!(
            receiver.recv().is_err(),
            "the thread's own values are dropped when it ends"
        );
    }

    /// Leaves `sender` to the calling thread, to be dropped when the thread ends.
    fn thread_local_guard(sender: Sender<()>) {
        thread_local!(static HELD: std::cell::RefCell<Option<Sender<()>>> = const { std::cell::RefCell::new(None) });
        HELD.with(|held| *held.borrow_mut() = Some(sender));
    }
}
