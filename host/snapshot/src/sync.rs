//! One sync of the file system for all who wait for it.
//!
//! A sync brings everything to the disk that was written before it began, whoever wrote it. While one is under way, those who
//! come wait; one of them then syncs for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use transom_sys::Errno;

/// The syncs of one file system.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    begun: AtomicU64,
    last: Mutex<Last>,
}

/// The sync that ended last, by its number.
#[derive(Clone, Copy, Debug)]
struct Last {
    number: u64,
    result: Result<(), Errno>,
}

impl Default for Last {
    fn default() -> Self {
        Last {
            number: 0,
            result: Ok(()),
        }
    }
}

impl Syncs {
    /// Returns when what was written before the call is on the disk, by `sync` of this caller or of another. `sync` runs on a
    /// thread that may block.
    pub(crate) async fn wait<F>(self: &Arc<Self>, sync: F) -> Result<(), Errno>
    where
        F: FnOnce() -> Result<(), Errno> + Send + 'static,
    {
        let seen = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.number > seen {
            // It began after this call did. Its error is everybody's: the system tells it once.
            return last.result;
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let result = crate::task::blocking(sync).await;
        *last = Last { number, result };
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).build().unwrap().block_on(future)
    }

    /// One sync runs until the others wait; what all got, and how many syncs there were.
    async fn crowd(others: usize, second: Result<(), Errno>) -> (Vec<Result<(), Errno>>, usize) {
        let syncs = Arc::new(Syncs::default());
        let count = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Barrier::new(2));
        let first = {
            let (syncs, gate, count) = (Arc::clone(&syncs), Arc::clone(&gate), Arc::clone(&count));
            tokio::spawn(async move {
                let sync = move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    gate.wait();
                    gate.wait();
                    Ok(())
                };
                syncs.wait(sync).await
            })
        };
        crate::task::blocking({
            let gate = Arc::clone(&gate);
            move || gate.wait()
        })
        .await;
        // Each is polled once before the first ends: it has seen that one, and waits.
        let mut waiting: Vec<_> = (0..others)
            .map(|_| {
                let count = Arc::clone(&count);
                let sync = move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    second
                };
                let syncs = Arc::clone(&syncs);
                Box::pin(async move { syncs.wait(sync).await })
            })
            .collect();
        for future in &mut waiting {
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(future.as_mut().poll(context).is_ready())
            });
            assert!(!polled.await);
        }
        crate::task::blocking(move || gate.wait()).await;
        let mut results = vec![first.await.unwrap()];
        for future in waiting {
            results.push(future.await);
        }
        (results, count.load(Ordering::SeqCst))
    }

    #[test]
    fn those_who_come_meanwhile_share_the_next_one() {
        let (results, syncs) = run(crowd(15, Ok(())));
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(syncs, 2);
    }

    #[test]
    fn an_error_is_told_to_all_who_shared_it_and_to_no_other() {
        let (results, syncs) = run(crowd(5, Err(Errno::IO)));
        assert_eq!(results[0], Ok(()));
        assert_eq!(results[1..], [Err(Errno::IO); 5]);
        assert_eq!(syncs, 2);
    }

    #[test]
    fn one_after_the_other_each_syncs() {
        let syncs = Arc::new(Syncs::default());
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let count = Arc::clone(&count);
            run(syncs.wait(move || {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }))
            .unwrap();
        }
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }
}
