//! Which blobs of a transfer are there already, and which are on their way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::watch;
use transom_oci::Digest;

use crate::arriving::Arriving;

/// Blobs that have arrived or are arriving, for those who wait for them. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    arrived: HashSet<Digest>,
    begun: HashMap<Digest, Arriving>,
    /// No more will come.
    all: bool,
}

impl Arrivals {
    pub(crate) fn arrived(&self, digest: &Digest) {
        self.state.send_modify(|state| {
            state.begun.remove(digest);
            state.arrived.insert(digest.clone());
        });
    }

    /// A blob is on its way, and can be read along.
    pub(crate) fn begun(&self, digest: &Digest, arriving: &Arriving) {
        self.state.send_modify(|state| {
            state.begun.insert(digest.clone(), arriving.clone());
        });
    }

    pub(crate) fn all(&self) {
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

    /// Waits until a blob can be read: along, if it has not arrived yet.
    pub(super) async fn readable(&self, digest: &Digest) -> Option<Arriving> {
        let mut state = self.state.subscribe();
        let begun = |state: &State| state.begun.get(digest).filter(|blob| !blob.is_lost()).cloned();
        let there = |state: &State| state.all || state.arrived.contains(digest);
        let readable = state.wait_for(|state| there(state) || begun(state).is_some());
        match readable.await {
            Ok(state) if !there(&state) => begun(&state),
            _ => None,
        }
    }
}
