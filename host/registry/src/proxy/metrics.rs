//! What the cache counts, under docker-registry's names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The counters of all caches of a registry. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    hits: Family<Labels, Counter>,
    misses: Family<Labels, Counter>,
    stale: Family<Labels, Counter>,
    pulled: Family<Labels, Counter>,
    evicted: Family<Labels, Counter>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Blob,
    Manifest,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    r#type: &'static str,
}

impl Kind {
    fn labels(self) -> Labels {
        let r#type = match self {
            Kind::Blob => "blob",
            Kind::Manifest => "manifest",
        };
        Labels { r#type }
    }
}

impl Metrics {
    /// Gives everything that is counted its name in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let proxy = registry.sub_registry_with_prefix("registry_proxy");
        for (name, help, counter) in [
            (
                "requests",
                "Requests for what other registries have",
                &self.requests,
            ),
            ("hits", "Those that were answered with what was here", &self.hits),
            (
                "misses",
                "Those for which another registry was asked",
                &self.misses,
            ),
            (
                "stale",
                "Those that were answered with what was here because the other registry could not be asked",
                &self.stale,
            ),
            (
                "pulled_bytes",
                "Bytes that came from other registries",
                &self.pulled,
            ),
            (
                "evicted",
                "What was forgotten because nobody used it",
                &self.evicted,
            ),
        ] {
            proxy.register(name, help, counter.clone());
        }
    }

    pub(super) fn hit(&self, kind: Kind) {
        self.requests.get_or_create(&kind.labels()).inc();
        self.hits.get_or_create(&kind.labels()).inc();
    }

    pub(super) fn miss(&self, kind: Kind) {
        self.requests.get_or_create(&kind.labels()).inc();
        self.misses.get_or_create(&kind.labels()).inc();
    }

    pub(super) fn stale(&self, kind: Kind) {
        self.stale.get_or_create(&kind.labels()).inc();
    }

    pub(super) fn pulled(&self, kind: Kind, bytes: usize) {
        self.pulled.get_or_create(&kind.labels()).inc_by(bytes as u64);
    }

    pub(super) fn evicted(&self, kind: Kind, number: u64) {
        self.evicted.get_or_create(&kind.labels()).inc_by(number);
    }
}
