//! Work that goes on although nobody waits for it any more, and work that blocks.

use tokio::task::JoinError;
use transom_meta::kv::Pending;

/// Runs a call to its end in a task of its own: a client that hangs up takes its request away, but not what was begun.
pub(crate) fn detached<'a, T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> Pending<'a, T> {
    Box::pin(async move { joined(tokio::spawn(call).await) })
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(tokio::task::spawn_blocking(work).await)
}

/// What a task gave; its panic goes on here.
fn joined<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(value) => value,
        // Nobody aborts these tasks, so it is a panic, or the runtime is being shut down.
        Err(error) => std::panic::resume_unwind(match error.try_into_panic() {
            Ok(panic) => panic,
            Err(error) => Box::new(error.to_string()),
        }),
    }
}
