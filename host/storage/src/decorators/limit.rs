//! Fewer calls at the same time.
//!
//! A call counts while it is made, as in docker-registry: a reader that is open does not, and a writer only while it writes.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::intercept::{Call, Intercepted, Interceptor};
use crate::StorageDriver;
use crate::driver::Pending;

#[derive(Debug)]
struct Limit(Semaphore);

/// `inner` with at most `calls` at a time; the others wait for their turn.
#[must_use]
pub fn limited(inner: Arc<dyn StorageDriver>, calls: usize) -> Arc<dyn StorageDriver> {
    let limit = Limit(Semaphore::new(calls.clamp(1, Semaphore::MAX_PERMITS)));
    Arc::new(Intercepted::new(inner, Arc::new(limit)))
}

impl Interceptor for Limit {
    fn once<'a, T: Send + 'a>(&'a self, _: Call<'a>, run: Pending<'a, T>) -> Pending<'a, T> {
        Box::pin(async move {
            // It is never closed; without a permit the call is made all the same.
            let _permit = self.0.acquire().await.ok();
            run.await
        })
    }
}
