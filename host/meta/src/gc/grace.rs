//! The end of a grace: what was referenced, and no longer is, does not wait for the end of its grace period.

use std::collections::HashSet;

use bytes::Bytes;

use super::labels::references;
use crate::key::{self, Kind};
use crate::metadata::Inner;
use crate::names::{self, Namespace};
use crate::record::{ContentRecord, GraceRecord, ImageRecord, SnapshotRecord};
use crate::transaction::Tries;
use crate::{Error, Node};

impl Inner {
    /// Removes the grace records of these nodes and of everything that they refer to. Call it once a reference to them was
    /// removed, and never within a transaction: it has its own.
    pub(crate) async fn end_grace(&self, namespace: &Namespace, roots: Vec<Node>) -> Result<(), Error> {
        let graces = key::all(Kind::Grace, namespace);
        if roots.is_empty() || self.kv.range(&graces, 1).await?.is_empty() {
            return Ok(());
        }
        let mut seen: HashSet<Node> = roots.iter().cloned().collect();
        let mut left = roots;
        let mut ended = Vec::new();
        while let Some(node) = left.pop() {
            if let Node::Content(_, digest) = &node {
                let key = key::of(Kind::Grace, namespace, digest.as_str());
                let grace = self.get::<GraceRecord>(&key).await?;
                ended.extend(grace.map(|grace| (key, grace)));
            }
            let next = self.referenced(&node).await?;
            left.extend(next.into_iter().filter(|node| seen.insert(node.clone())));
        }
        self.remove_graces(namespace, ended).await
    }

    /// As [`end_grace`](Self::end_grace), for what has already happened: that it fails is no reason to say that the rest has.
    pub(crate) async fn try_end_grace(&self, namespace: &Namespace, roots: Vec<Node>) {
        if let Err(error) = self.end_grace(namespace, roots).await {
            tracing::warn!(%namespace, %error, "content may be kept until its grace period ends");
        }
    }

    async fn referenced(&self, node: &Node) -> Result<Vec<Node>, Error> {
        let namespace = node.namespace();
        Ok(match node {
            Node::Content(_, digest) => {
                let key = key::of(Kind::Content, namespace, digest.as_str());
                let record = self.get::<ContentRecord>(&key).await?.unwrap_or_default();
                references(namespace, &record.labels)
            }
            Node::Image(_, name) => {
                let key = key::of(Kind::Image, namespace, name);
                let record = self.get::<ImageRecord>(&key).await?.unwrap_or_default();
                let mut nodes = references(namespace, &record.labels);
                let target = names::digest(&record.digest).ok();
                nodes.extend(target.map(|target| Node::Content(namespace.clone(), target)));
                nodes
            }
            Node::Snapshot(_, snapshotter, name) => {
                let key = key::snapshot(namespace, snapshotter, name);
                let record = self.get::<SnapshotRecord>(&key).await?.unwrap_or_default();
                let mut nodes = references(namespace, &record.labels);
                if !record.parent.is_empty() {
                    nodes.push(Node::Snapshot(
                        namespace.clone(),
                        snapshotter.clone(),
                        record.parent,
                    ));
                }
                nodes
            }
            _ => Vec::new(),
        })
    }

    async fn remove_graces(
        &self,
        namespace: &Namespace,
        graces: Vec<(Bytes, GraceRecord)>,
    ) -> Result<(), Error> {
        let mut tries = Tries::new();
        while !graces.is_empty() {
            tries.next(|| format!("grace records of namespace {:?}", namespace.as_str()))?;
            let mut txn = self.begin().await;
            for (key, seen) in &graces {
                // One that came meanwhile is for content that was committed again.
                if txn.get::<GraceRecord>(key).await?.as_ref() == Some(seen) {
                    txn.delete(key.clone());
                }
            }
            txn.removes();
            if txn.commit().await? {
                break;
            }
        }
        Ok(())
    }
}
