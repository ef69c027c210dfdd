//! A commit that was cut off after the snapshotter had done it and before its record was written: it is finished.
//!
//! The snapshotter then has a committed snapshot without a record, and there is a record of an active one, with the same number, that
//! the snapshotter does not have any more. What the client had written there must not be lost.

use super::sweep::Survey;
use super::{Info, Kind, Snapshots, number, parse_backend};
use crate::key;
use crate::names::{Caller, Namespace};
use crate::record::{SnapshotRecord, Time};
use crate::{Class, Error, Metadata};

impl Snapshots {
    /// Finishes what a crash has cut off.
    pub(super) async fn finish_interrupted(&self) -> Result<(), Error> {
        let survey = self.survey().await?;
        self.finish(&survey).await
    }

    /// Finishes commits that nobody is busy with any more.
    pub(super) async fn finish(&self, survey: &Survey) -> Result<(), Error> {
        for orphan in survey.orphans.iter().filter(|info| info.kind == Kind::Committed) {
            let Some((namespace, number, name)) = parse_backend(&orphan.name) else {
                continue;
            };
            let Some(key) = survey.empty.get(&(namespace.clone(), number)) else {
                continue;
            };
            let busy = |key| self.loaded.claims.has(&namespace, key);
            if key != name && !busy(name) && !busy(key) {
                self.finish_one(survey, orphan, &namespace, name, key).await?;
            }
        }
        Ok(())
    }

    async fn finish_one(
        &self,
        survey: &Survey,
        orphan: &Info,
        namespace: &Namespace,
        name: &str,
        from: &str,
    ) -> Result<(), Error> {
        let Some(active) = self.find(namespace, from).await? else {
            return Ok(());
        };
        let mut parent = active.parent;
        if parent.is_empty() && !orphan.parent.is_empty() {
            match survey.recorded.get(&orphan.parent) {
                Some((owner, known)) if owner == namespace => parent.clone_from(known),
                _ => return Ok(()),
            }
        }
        // What the commit said of its labels is known only as far as they are the snapshotter's. What kept the active one keeps
        // this one.
        let mut labels = active.labels;
        labels.extend(orphan.labels.clone());
        let record = SnapshotRecord {
            labels,
            backend: orphan.name.clone(),
            parent,
            kind: number(Kind::Committed),
            created: Some(Time::from(orphan.created)),
            updated: Some(Time::from(orphan.updated)),
        };
        self.keep_as(namespace, from, name).await?;
        tracing::info!(%namespace, snapshot = name, "finishing a commit that was cut off");
        let caller = Caller::new(namespace.clone());
        match self.move_record(&caller, name, from, &record).await {
            Err(error) if matches!(error.class(), Class::AlreadyExists | Class::NotFound) => Ok(()),
            done => done,
        }
    }

    /// Every lease that has `from` gets `name`.
    async fn keep_as(&self, namespace: &Namespace, from: &str, name: &str) -> Result<(), Error> {
        let kind = self.resource();
        let metadata = Metadata {
            inner: self.inner.clone(),
        };
        for key in self.inner.keys(key::all_resources(namespace)).await? {
            let Some((_, lease, found, id)) = key::parse_resource(&key) else {
                continue;
            };
            if found != kind || id != from {
                continue;
            }
            match metadata.add_resource(namespace, lease, &kind, name).await {
                Err(error) if error.class() != Class::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
