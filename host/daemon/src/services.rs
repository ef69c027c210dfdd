//! The services: each a thin adapter from messages to what the stores do.

pub mod content;
pub mod diff;
pub mod events;
pub mod health;
pub mod images;
pub mod introspection;
pub mod leases;
pub mod namespaces;
pub mod objects;
pub mod plugins;
pub mod snapshots;
pub mod streaming;
pub mod transfer;
pub mod version;

use std::collections::HashMap;
use std::sync::OnceLock;

use tonic::Status;

use crate::answers::lost;

/// A service that takes and gives messages as large as containerd's.
macro_rules! limited {
    ($server:expr) => {
        $server
            .max_decoding_message_size(transom_api::limits::MESSAGE_BYTES)
            .max_encoding_message_size(transom_api::limits::MESSAGE_BYTES)
    };
}
pub(crate) use limited;

/// Every method of every service that we have a definition of, by the path of its requests.
pub(crate) fn methods() -> HashMap<String, &'static str> {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    let names = NAMES.get_or_init(transom_api::methods);
    names
        .iter()
        .map(|name| (format!("/{name}"), name.as_str()))
        .collect()
}

/// Runs what computes or waits for a disk beside the tasks of other requests. A panic becomes a status.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let span = tracing::Span::current();
    let work = move || span.in_scope(work);
    tokio::task::spawn_blocking(work).await.map_err(lost)
}
