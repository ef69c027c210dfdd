//! One sync of a folder for all who wait for it.
//!
//! A sync takes a few milliseconds, whoever asks, and brings everything to the disk that was done before it began. While
//! one is under way, those who come gather; one of them then syncs for all. A single one waits for nothing but its own.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// The syncs of one folder.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// The sync that has not begun: whoever comes now takes part in it.
    next: Arc<Outcome>,
}

/// What became of a sync. An error is everybody's: the system tells it once, and a second sync would know nothing of it.
type Outcome = OnceLock<Result<(), Failure>>;

/// An error that can be given to many.
#[derive(Clone, Copy, Debug)]
struct Failure {
    code: Option<i32>,
    kind: io::ErrorKind,
}

impl Flush {
    /// Returns when what was done to the folder before the call is on the disk, by `sync` of this caller or of another.
    pub(crate) fn wait(&self, path: &Path, sync: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.lock();
        let mine = Arc::clone(&state.next);
        while state.running && mine.get().is_none() {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(outcome) = mine.get() {
            return outcome.map_err(io::Error::from);
        }
        state.running = true;
        state.next = Arc::default();
        drop(state);
        // Also ends the sync if it panics: the others must not wait for ever.
        let mut end = End {
            flush: self,
            outcome: mine,
            result: Err(Failure {
                code: None,
                kind: io::ErrorKind::Other,
            }),
        };
        let result = sync(path);
        end.result = result.as_ref().map_err(Failure::from).copied();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct End<'f> {
    flush: &'f Flush,
    outcome: Arc<Outcome>,
    result: Result<(), Failure>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.flush.lock();
        // Nobody else sets it: whoever syncs has taken it out of the state.
        let _ = self.outcome.set(self.result);
        state.running = false;
        self.flush.ended.notify_all();
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Failure {
        Failure {
            code: error.raw_os_error(),
            kind: error.kind(),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        match failure.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => failure.kind.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    /// Holds the first sync up until all others wait, then lets everybody go; what each got, and how many syncs there were.
    fn crowd(others: usize, result: impl Fn(usize) -> io::Result<()> + Sync) -> (Vec<io::Result<()>>, usize) {
        let (flush, syncs) = (Flush::default(), AtomicUsize::new(0));
        let (begun, go_on) = (mpsc::sync_channel(0), Barrier::new(2));
        let sync = |_: &Path| {
            let number = syncs.fetch_add(1, Ordering::SeqCst);
            if number == 0 {
                begun.0.send(()).expect("the test waits");
                go_on.wait();
            }
            result(number)
        };
        let results = thread::scope(|scope| {
            let (flush, sync) = (&flush, &sync);
            let mut tasks = vec![scope.spawn(move || flush.wait(Path::new("f"), sync))];
            begun.1.recv().expect("the first sync begins");
            tasks.extend((0..others).map(|_| scope.spawn(move || flush.wait(Path::new("f"), sync))));
            // All others hold the outcome of the sync that comes: one for each, and the state's.
            while Arc::strong_count(&flush.lock().next) <= others {
                thread::yield_now();
            }
            go_on.wait();
            tasks
                .into_iter()
                .map(|task| task.join().expect("no panic"))
                .collect()
        });
        (results, syncs.into_inner())
    }

    #[test]
    fn those_who_come_meanwhile_share_the_next_one() {
        let (results, syncs) = crowd(15, |_| Ok(()));
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(syncs, 2);
    }

    #[test]
    fn an_error_is_told_to_all_who_shared_it_and_to_no_other() {
        let (results, syncs) = crowd(5, |number| match number {
            1 => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        });
        assert!(results[0].is_ok());
        let codes: Vec<_> = results[1..]
            .iter()
            .map(|result| result.as_ref().err().and_then(io::Error::raw_os_error))
            .collect();
        assert_eq!(codes, [Some(5); 5]);
        assert_eq!(syncs, 2);
    }

    #[test]
    fn one_after_the_other_each_syncs() {
        let (flush, syncs) = (Flush::default(), AtomicUsize::new(0));
        for _ in 0..3 {
            let count = |_: &Path| {
                syncs.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            flush.wait(Path::new("f"), count).expect("it succeeds");
        }
        assert_eq!(syncs.into_inner(), 3);
    }

    #[test]
    fn a_panic_ends_its_sync_only() {
        let flush = Flush::default();
        let panics = || flush.wait(Path::new("f"), |_| panic!("as if"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        flush.wait(Path::new("f"), |_| Ok(())).expect("it succeeds");
    }
}
