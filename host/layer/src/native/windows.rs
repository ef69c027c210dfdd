//! The memory of zstd's windows, shared by all decoders of the process.
//!
//! A window may be 128 MiB, and the frame's author decides. Decoders with a small one go on at once; those with a large one wait
//! until the others leave room, first come, first served.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::limits::{WINDOW_FREE_BYTES, WINDOWS_BYTES};
use crate::stage::StageError;

/// How often one that waits looks whether its job was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// The windows of this process.
static WINDOWS: Windows = Windows::new(WINDOWS_BYTES);

struct Windows {
    state: Mutex<State>,
    left: Condvar,
}

struct State {
    free: u64,
    next: u64,
    waiting: VecDeque<u64>,
}

/// What one decoder has of them; given back when dropped.
pub(super) struct Share {
    windows: &'static Windows,
    bytes: u64,
}

impl Share {
    /// Nothing yet.
    pub(super) fn none() -> Share {
        Share {
            windows: &WINDOWS,
            bytes: 0,
        }
    }

    /// Has room for a window of so many bytes; waits for it. What the decoder had is given back first: it gives its old window up
    /// for the new one, and two that wait for each other would wait for ever.
    pub(super) fn grow(&mut self, window: u64, cancel: &Cancel) -> io::Result<()> {
        let wanted = window.min(WINDOWS_BYTES);
        if wanted <= WINDOW_FREE_BYTES.max(self.bytes) {
            return Ok(());
        }
        self.give_back();
        if !self.windows.take(wanted, cancel) {
            return Err(io::Error::other(StageError::Cancelled));
        }
        self.bytes = wanted;
        Ok(())
    }

    fn give_back(&mut self) {
        if self.bytes > 0 {
            self.windows.lock().free += std::mem::take(&mut self.bytes);
            self.windows.left.notify_all();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Windows {
    const fn new(bytes: u64) -> Windows {
        Windows {
            state: Mutex::new(State {
                free: bytes,
                next: 0,
                waiting: VecDeque::new(),
            }),
            left: Condvar::new(),
        }
    }

    /// Takes bytes when it is this one's turn; `false` if the job was cancelled before.
    fn take(&self, bytes: u64, cancel: &Cancel) -> bool {
        let mut state = self.lock();
        let mine = state.next;
        state.next += 1;
        state.waiting.push_back(mine);
        let taken = loop {
            if state.waiting.front() == Some(&mine) && state.free >= bytes {
                state.free -= bytes;
                break true;
            }
            if cancel.is_requested() {
                break false;
            }
            let waited = self.left.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        state.waiting.retain(|waiting| *waiting != mine);
        drop(state);
        self.left.notify_all();
        taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(windows: &'static Windows) -> Share {
        Share { windows, bytes: 0 }
    }

    /// Waits until so many wait.
    fn until_waiting(windows: &Windows, count: usize) {
        while windows.lock().waiting.len() < count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn large_windows_are_opened_one_after_the_other_and_small_ones_at_once() {
        static ONE: Windows = Windows::new(WINDOWS_BYTES);
        let cancel = Cancel::new();
        let (mut first, mut small) = (share(&ONE), share(&ONE));
        first.grow(WINDOWS_BYTES * 4, &cancel).unwrap();
        small.grow(WINDOW_FREE_BYTES, &cancel).unwrap();
        let (second, third) = std::thread::scope(|scope| {
            let wait = |bytes| {
                let cancel = cancel.clone();
                scope.spawn(move || {
                    let mut share = share(&ONE);
                    share.grow(bytes, &cancel).unwrap();
                    share
                })
            };
            let second = wait(WINDOWS_BYTES);
            until_waiting(&ONE, 1);
            // Would fit beside nothing but the first: it comes after the second all the same.
            let third = wait(WINDOW_FREE_BYTES + 1);
            until_waiting(&ONE, 2);
            drop(first);
            let second = second.join().unwrap();
            until_waiting(&ONE, 1);
            drop(second);
            (WINDOWS_BYTES, third.join().unwrap().bytes)
        });
        assert_eq!((second, third), (WINDOWS_BYTES, WINDOW_FREE_BYTES + 1));
        assert_eq!(ONE.lock().free, WINDOWS_BYTES);
    }

    #[test]
    fn who_is_cancelled_waits_no_longer_and_is_in_nobodys_way() {
        static ONE: Windows = Windows::new(WINDOWS_BYTES);
        let (cancel, never) = (Cancel::new(), Cancel::new());
        let mut first = share(&ONE);
        first.grow(WINDOWS_BYTES, &never).unwrap();
        std::thread::scope(|scope| {
            let given_up = scope.spawn(|| share(&ONE).grow(WINDOWS_BYTES, &cancel).is_err());
            until_waiting(&ONE, 1);
            cancel.cancel();
            assert!(given_up.join().unwrap());
        });
        drop(first);
        share(&ONE).grow(WINDOWS_BYTES, &never).unwrap();
        assert_eq!(ONE.lock().free, WINDOWS_BYTES);
    }

    #[test]
    fn two_that_grow_do_not_wait_for_each_other() {
        static ONE: Windows = Windows::new(WINDOWS_BYTES);
        let never = Cancel::new();
        let mut shares = [share(&ONE), share(&ONE)];
        for share in &mut shares {
            share.grow(WINDOWS_BYTES / 2, &never).unwrap();
        }
        std::thread::scope(|scope| {
            for share in &mut shares {
                let never = never.clone();
                scope.spawn(move || {
                    share.grow(WINDOWS_BYTES, &never).unwrap();
                    share.give_back();
                });
            }
        });
        assert_eq!(ONE.lock().free, WINDOWS_BYTES);
    }
}
