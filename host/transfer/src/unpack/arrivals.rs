//! Which blobs of a transfer are there already.

use std::collections::HashSet;

use tokio::sync::watch;
use transom_oci::Digest;

/// Blobs that have arrived, for those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    arrived: HashSet<Digest>,
    /// No more will come.
    all: bool,
}

impl Arrivals {
    pub(super) fn arrived(&self, digest: &Digest) {
        self.state.send_modify(|state| {
            state.arrived.insert(digest.clone());
        });
    }

    pub(super) fn all(&self) {
        self.state.send_modify(|state| state.all = true);
    }

    /// Waits until a blob has arrived, or nothing will any more.
    pub(super) async fn wait(&self, digest: &Digest) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state
            .wait_for(|state| state.all || state.arrived.contains(digest))
            .await;
    }
}
