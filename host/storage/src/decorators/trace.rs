//! Each call as a span, for whoever collects traces.

use std::sync::Arc;

use tracing::Instrument;

use super::intercept::{Call, Intercepted, Interceptor};
use crate::StorageDriver;
use crate::driver::Pending;

#[derive(Debug)]
struct Trace(String);

/// `inner` with a span of the level `debug` for each call.
#[must_use]
pub fn traced(inner: Arc<dyn StorageDriver>) -> Arc<dyn StorageDriver> {
    let trace = Trace(inner.name().to_owned());
    Arc::new(Intercepted::new(inner, Arc::new(trace)))
}

impl Interceptor for Trace {
    fn once<'a, T: Send + 'a>(&'a self, call: Call<'a>, run: Pending<'a, T>) -> Pending<'a, T> {
        let span = tracing::debug_span!(
            "storage",
            driver = self.0,
            action = call.action.name(),
            path = %call.path,
            bytes = call.bytes,
        );
        let traced = async move {
            let result = run.await;
            if let Err(error) = &result {
                tracing::debug!(%error, "failed");
            }
            result
        };
        Box::pin(traced.instrument(span))
    }
}
