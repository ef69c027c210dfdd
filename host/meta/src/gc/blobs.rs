//! What records no longer name: blobs and ingests in the content store.

use std::collections::HashSet;

use transom_content::{Error as ContentError, Info, Store};
use transom_oci::Digest;

use super::graph::Graph;
use crate::key::{self, Kind};
use crate::metadata::{Inner, joined};
use crate::names::Namespace;
use crate::record::IngestRecord;
use crate::{Error, Node};

/// What was removed from the content store.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Freed {
    pub(super) blobs: u64,
    pub(super) ingests: u64,
    pub(super) bytes: u64,
}

/// Removes every blob that no namespace has, and every ingest without a record.
pub(super) async fn sweep(inner: &Inner, graph: Graph) -> Result<Freed, Error> {
    let mut freed = Freed::default();
    let store = inner.blobs.clone();
    let orphans = joined(tokio::task::spawn_blocking(move || orphans(&store, &graph)).await)?;
    for blob in orphans {
        // A commit that places this blob now holds the lock until its record is written.
        let _alone = inner.digests.exclusive(&blob.digest).await;
        if !inner.is_wanted(&blob.digest).await? && inner.unlink(blob.digest).await? {
            freed.blobs += 1;
            freed.bytes += blob.size;
        }
    }
    let store = inner.blobs.clone();
    let listed = tokio::task::spawn_blocking(move || -> Result<Vec<_>, ContentError> {
        let statuses = store.statuses(|_| true)?;
        statuses
            .map(|status| status.map(|status| (status.reference, status.offset)))
            .collect()
    });
    for (reference, bytes) in joined(listed.await)? {
        if !inner.is_recorded(&reference).await? && inner.abort_unused(reference).await? {
            freed.ingests += 1;
            freed.bytes += bytes;
        }
    }
    Ok(freed)
}

/// The blobs that no record named when the records were read. One may have got a record since.
fn orphans(store: &Store, graph: &Graph) -> Result<Vec<Info>, ContentError> {
    let mut known: HashSet<&Digest> = HashSet::new();
    for (node, kept) in graph.objects() {
        if let Node::Content(_, digest) = node
            && kept
        {
            known.insert(digest);
        }
    }
    let unknown = |info: &Result<Info, _>| info.as_ref().is_ok_and(|info| !known.contains(&info.digest));
    let listed = store.walk()?.filter(|info| info.is_err() || unknown(info));
    listed.collect()
}

impl Inner {
    /// Whether a namespace has a blob, or an ingest waits to be given it.
    pub(crate) async fn is_wanted(&self, digest: &Digest) -> Result<bool, Error> {
        for range in [key::holders(digest), key::expecters(digest)] {
            if !self.kv.range(&range, 1).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an ingest of the content store has a record.
    pub(crate) async fn is_recorded(&self, backend: &str) -> Result<bool, Error> {
        let Some((namespace, reference)) = parse_backend(backend) else {
            return Ok(false);
        };
        let key = key::of(Kind::Ingest, &namespace, reference);
        let record = self.get::<IngestRecord>(&key).await?;
        Ok(record.is_some_and(|record| record.backend == backend))
    }

    /// Removes a blob; `false` if it has gone already.
    pub(crate) async fn unlink(&self, digest: Digest) -> Result<bool, Error> {
        let store = self.blobs.clone();
        match joined(tokio::task::spawn_blocking(move || store.delete(&digest)).await) {
            Err(ContentError::NotFound { .. }) => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }

    /// Removes an ingest of the content store, unless it is being written; `false` if it is, or has gone already.
    pub(crate) async fn abort_unused(&self, backend: String) -> Result<bool, Error> {
        let store = self.blobs.clone();
        match joined(tokio::task::spawn_blocking(move || store.abort_unused(&backend)).await) {
            Err(ContentError::Locked { .. } | ContentError::RefNotFound { .. }) => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }
}

/// Namespace and client's ref of a ref in the content store: `<namespace>/<number>/<ref>`.
fn parse_backend(backend: &str) -> Option<(Namespace, &str)> {
    let (namespace, rest) = backend.split_once('/')?;
    let (_, reference) = rest.split_once('/')?;
    Some((Namespace::new(namespace).ok()?, reference))
}
