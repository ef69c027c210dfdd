//! Collecting garbage while clients push, pull and delete.
//!
//! What is wanted is young, or something leads to it. Every push, mount and `HEAD` renews the links that it relies on when they are
//! half as old as the grace period; bytes that old are not relied on at all, but written anew. So what is older than the grace period,
//! and nothing leads to, nobody is about to use.
//!
//! `mark` finds what leads where in one repository and removes links that nothing needs; `sweep` removes bytes without links: it
//! looks twice, with a pause in which every request that saw an old link has ended, and moves bytes aside before it decides.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use transom_oci::Digest;

use super::Store;
use crate::error::Result;
use crate::layout;

mod mark;
mod sweep;

/// How garbage is collected. The grace period is an option of the store, because requests go by it, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// How long a request may take that saw a link just before it was removed.
    pub settle: Duration,
    /// Delete manifests that no tag leads to after this time, or never.
    pub untagged_after: Option<Duration>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What a collection found and did; in a dry run, what it would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Repositories that were looked at.
    pub repositories: u64,
    /// Manifests that stay.
    pub manifests: u64,
    /// Blobs and manifests whose bytes stay.
    pub blobs: u64,
    /// Untagged manifests that were deleted.
    pub deleted_manifests: u64,
    /// Links to blobs that were deleted.
    pub deleted_links: u64,
    /// Blobs that were deleted.
    pub deleted_blobs: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Repositories with a manifest that cannot be read, in which every blob stays.
    pub unreadable: Vec<String>,
}

/// Digests of which little is kept: two that look the same keep garbage, and lose nothing.
#[derive(Debug, Default)]
struct Alive(HashSet<u64>);

impl Alive {
    fn insert(&mut self, digest: &Digest) {
        self.0.insert(short(digest));
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.0.contains(&short(digest))
    }
}

fn short(digest: &Digest) -> u64 {
    u64::from_str_radix(&digest.hex()[..16], 16).unwrap_or_default()
}

/// What has no links: how large it is.
type Orphans = HashMap<Digest, u64>;

impl Store {
    /// Collects garbage.
    ///
    /// # Errors
    /// The driver's. What was done until then is done, and nothing is half done.
    pub async fn collect(&self, collection: &Collection) -> Result<Collected> {
        let mut collected = Collected::default();
        let limit = self.old();
        if !collection.dry_run {
            self.bring_back().await?;
        }
        let mut alive = Alive::default();
        let mut repositories = self.every_repository().await?;
        while let Some(name) = repositories.next().await? {
            self.collect_links(&name, collection, limit, &mut alive, &mut collected)
                .await?;
        }
        let orphans = self.orphans(&alive, limit, &mut collected).await?;
        if collection.dry_run {
            collected.deleted_blobs = orphans.len() as u64;
            collected.deleted_bytes = orphans.values().sum();
        } else if !orphans.is_empty() {
            tokio::time::sleep(collection.settle).await;
            self.sweep(orphans, limit, &mut collected).await?;
        }
        Ok(collected)
    }

    /// Collects garbage from time to time.
    pub(crate) async fn collect_for_ever(self, collection: Collection, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            match self.collect(&collection).await {
                Ok(collected) => tracing::info!(?collected, "garbage is collected"),
                Err(error) => tracing::warn!(%error, "garbage cannot be collected"),
            }
        }
    }

    async fn every_repository(&self) -> Result<super::catalog::Repositories> {
        self.repositories_with(layout::LAYERS_OR_MANIFESTS, None).await
    }

    /// What was written before this is old.
    fn old(&self) -> Option<SystemTime> {
        SystemTime::now().checked_sub(self.options().grace)
    }

    /// What was written before this is not relied on, or renewed.
    fn ageing(&self) -> Option<SystemTime> {
        SystemTime::now().checked_sub(self.options().grace / 2)
    }

    /// Whether something with this time may soon be garbage.
    pub(super) fn is_ageing(&self, modified: Option<SystemTime>) -> bool {
        match (modified, self.ageing()) {
            (Some(modified), Some(ageing)) => modified < ageing,
            // A store that says no times has no garbage.
            (None, _) => false,
            (_, None) => false,
        }
    }
}

/// Whether it is older than the limit. What says no time is young.
pub(super) fn is_old(modified: Option<SystemTime>, limit: Option<SystemTime>) -> bool {
    matches!((modified, limit), (Some(modified), Some(limit)) if modified < limit)
}
