//! What several want at the same time is done once, and goes on when they leave.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::Error;
use crate::error::Result;

type Flight<T> = Shared<BoxFuture<'static, Result<T, Arc<Error>>>>;
type Running<K, T> = Arc<Mutex<HashMap<K, Flight<T>>>>;

/// What is being done, by what it is about.
pub(super) struct Flights<K, T>(Running<K, T>);

/// As long as this is there, others join.
pub(super) struct Landing<K: Eq + Hash, T> {
    running: Running<K, T>,
    key: K,
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Flights<K, T> {
        Flights(Arc::default())
    }
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Waits for what somebody does already, or has it done.
    pub(super) async fn join<F>(&self, key: K, work: impl FnOnce(Landing<K, T>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let flight = {
            let mut running = lock(&self.0);
            match running.get(&key) {
                Some(flight) => flight.clone(),
                None => {
                    let landing = Landing {
                        running: Arc::clone(&self.0),
                        key: key.clone(),
                    };
                    // A task of its own: whoever waits may leave.
                    let flight = ended(tokio::spawn(work(landing))).boxed().shared();
                    running.insert(key, flight.clone());
                    flight
                }
            }
        };
        flight.await.map_err(Error::Shared)
    }
}

async fn ended<T>(task: tokio::task::JoinHandle<Result<T>>) -> Result<T, Arc<Error>> {
    match task.await {
        Ok(result) => result.map_err(Arc::new),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The process ends.
        Err(_) => Err(Arc::new(Error::TooBusy)),
    }
}

impl<K: Eq + Hash, T> Drop for Landing<K, T> {
    fn drop(&mut self) {
        // The flight itself is dropped outside the lock.
        let flight = lock(&self.running).remove(&self.key);
        drop(flight);
    }
}

fn lock<K, T>(running: &Mutex<HashMap<K, Flight<T>>>) -> MutexGuard<'_, HashMap<K, Flight<T>>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, T> fmt::Debug for Flights<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flights").field(&lock(&self.0).len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn one_does_it_for_all_also_when_the_first_leaves() {
        let flights: Arc<Flights<&str, usize>> = Arc::default();
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let join = || {
            let (flights, gate, begun) = (Arc::clone(&flights), Arc::clone(&gate), Arc::clone(&begun));
            async move {
                let work = |landing| async move {
                    let _landing = landing;
                    let number = begun.fetch_add(1, Ordering::SeqCst);
                    drop(gate.acquire().await);
                    Ok(number)
                };
                flights.join("key", work).await
            }
        };
        let mut first = Box::pin(join());
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut others: Vec<_> = (0..9).map(|_| Box::pin(join())).collect();
        for other in &mut others {
            assert!(futures_util::poll!(other).is_pending());
        }
        drop(first);
        gate.add_permits(1);
        for other in others {
            assert_eq!(other.await.unwrap(), 0);
        }
        gate.add_permits(1);
        assert_eq!(join().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn all_have_the_same_error_and_the_next_one_tries_again() {
        let flights: Flights<u8, ()> = Flights::default();
        for _ in 0..2 {
            let failing = |landing| async move {
                let _landing = landing;
                Err(Error::TooBusy)
            };
            let error = flights.join(1, failing).await.unwrap_err();
            assert!(matches!(error.cause(), Error::TooBusy));
        }
        let working = |landing| async move {
            drop(landing);
            Ok(())
        };
        flights.join(1, working).await.unwrap();
    }
}
