//! Work that comes after other work: on a thread of its own as soon as it is started, or else on the thread of whoever was
//! before it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::pipe::Start;
use crate::workers::{Running, Workers};

/// Such work. Clones are the same work.
pub(super) struct Rest<T> {
    state: Arc<Mutex<State<T>>>,
    workers: Workers,
}

enum State<T> {
    Waiting(Box<dyn FnOnce() -> T + Send>),
    Running(Running<T>),
    Done,
}

impl<T: Send + 'static> Rest<T> {
    pub(super) fn new(workers: &Workers, work: impl FnOnce() -> T + Send + 'static) -> Rest<T> {
        Rest {
            state: Arc::new(Mutex::new(State::Waiting(Box::new(work)))),
            workers: workers.clone(),
        }
    }

    /// The same work for a pipe that starts it when it is full.
    pub(super) fn starter(&self) -> Arc<dyn Start> {
        Arc::new(Rest {
            state: Arc::clone(&self.state),
            workers: self.workers.clone(),
        })
    }

    /// The result: waits for it if the work was started, and does the work here if not. `None` if it panicked.
    pub(super) fn finish(self) -> Option<T> {
        let state = std::mem::replace(&mut *self.lock(), State::Done);
        match state {
            State::Waiting(work) => here(work),
            State::Running(running) => running.join(),
            State::Done => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Start for Rest<T> {
    fn start(&self) {
        let mut state = self.lock();
        *state = match std::mem::replace(&mut *state, State::Done) {
            State::Waiting(work) => State::Running(self.workers.run(work)),
            other => other,
        };
    }
}

/// Does work on this thread; `None` if it panicked.
pub(super) fn here<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use std::thread::{ThreadId, current};

    use super::*;

    fn rest(workers: &Workers) -> Rest<ThreadId> {
        Rest::new(workers, || current().id())
    }

    #[test]
    fn it_is_done_here_unless_it_was_started() {
        let workers = Workers::new();
        assert_eq!(rest(&workers).finish(), Some(current().id()));
        let started = rest(&workers);
        started.starter().start();
        started.starter().start();
        let other = started.finish().unwrap();
        assert_ne!(other, current().id());
    }

    #[test]
    fn a_panic_is_an_answer_that_does_not_come() {
        let workers = Workers::new();
        for start in [false, true] {
            let rest: Rest<()> = Rest::new(&workers, || panic!("on purpose"));
            if start {
                rest.start();
            }
            assert_eq!(rest.finish(), None);
        }
    }
}
