//! What nobody has used for the time that is configured is forgotten.

use std::time::Duration;

use super::metrics::Kind;
use super::{Proxies, limits};
use crate::error::Result;
use crate::layout;
use crate::store::{Collection, Evicted};

impl Proxies {
    /// Forgets what nobody has used for its time. The bytes stay until garbage is collected.
    ///
    /// # Errors
    /// The driver's.
    pub async fn evict(&self) -> Result<Evicted> {
        let mut all = Evicted::default();
        let store = &self.inner.store;
        let mut repositories = store.repositories_with(layout::LAYERS_OR_MANIFESTS, None).await?;
        while let Some(name) = repositories.next().await? {
            let Some(ttl) = self.inner.find(&name).and_then(|upstream| upstream.ttl()) else {
                continue;
            };
            let evicted = store.evict(&name, ttl).await?;
            all.manifests += evicted.manifests;
            all.blobs += evicted.blobs;
        }
        let metrics = &self.inner.metrics;
        metrics.evicted(Kind::Manifest, all.manifests);
        metrics.evicted(Kind::Blob, all.blobs);
        Ok(all)
    }

    /// How often is to be looked; `None` if everything is kept for ever.
    fn evict_every(&self) -> Option<Duration> {
        let shortest = self
            .inner
            .upstreams
            .iter()
            .filter_map(|upstream| upstream.ttl())
            .min()?;
        Some((shortest / 8).clamp(limits::EVICT_EVERY_LEAST, limits::EVICT_EVERY_MOST))
    }

    /// Does so from time to time, and collects garbage after that, if nobody else does.
    pub(crate) async fn evict_for_ever(self, collection: Option<Collection>) {
        let Some(every) = self.evict_every() else {
            return;
        };
        loop {
            tokio::time::sleep(every).await;
            match self.evict().await {
                Ok(evicted) if evicted == Evicted::default() => continue,
                Ok(evicted) => tracing::info!(?evicted, "what nobody used of other registries is forgotten"),
                Err(error) => {
                    tracing::warn!(%error, "cannot forget what nobody used of other registries");
                    continue;
                }
            }
            let Some(collection) = &collection else {
                continue;
            };
            match self.inner.store.collect(collection).await {
                Ok(collected) => tracing::info!(?collected, "garbage is collected"),
                Err(error) => tracing::warn!(%error, "garbage cannot be collected"),
            }
        }
    }
}
