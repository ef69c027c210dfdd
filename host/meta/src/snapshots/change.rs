//! Labels, and removal.

use std::time::SystemTime;

use super::{Info, LABELS, Snapshots, check_key, info, inherited, missing, object};
use crate::events::{Envelope, Event};
use crate::key;
use crate::leases;
use crate::names::{self, Caller, Labels};
use crate::record::{SnapshotRecord, Time};
use crate::transaction::Tries;
use crate::{Error, gc};

impl Snapshots {
    /// Changes labels: those that `paths` name (`labels`, `labels.<key>`), or all of them if there are no paths.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], [`Error::Immutable`], [`Error::Label`], [`Error::Snapshot`].
    pub async fn update(
        &self,
        caller: &Caller,
        key: &str,
        labels: Labels,
        paths: &[String],
    ) -> Result<Info, Error> {
        check_key("snapshot key", key)?;
        let namespace = &caller.namespace;
        let _claim = self.claim(namespace, &[key], &[]).await;
        let mut told = None;
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(key))?;
            let mut record = self.record(namespace, key).await?;
            let seen = record.clone();
            change(&mut record.labels, &labels, paths, key)?;
            names::labels(LABELS, &record.labels)?;
            let its = inherited(&record.labels);
            if its != inherited(&seen.labels) && told.as_ref() != Some(&its) {
                let updated = self.loaded.backend.update(&record.backend, its.clone(), true);
                updated.await?;
                told = Some(its);
            }
            record.updated = Some(Time::from(SystemTime::now()));
            let mut txn = self.inner.begin().await;
            let at = self.key(namespace, key);
            if txn.get::<SnapshotRecord>(&at).await?.as_ref() != Some(&seen) {
                continue;
            }
            txn.put(at, &record);
            txn.touch(self.node(namespace, key));
            let after = gc::labels::references(namespace, &record.labels);
            after.iter().for_each(|node| txn.touch(node.clone()));
            if txn.commit().await? {
                let mut dropped = gc::labels::references(namespace, &seen.labels);
                dropped.retain(|node| !after.contains(node));
                self.inner.try_end_grace(namespace, dropped).await;
                return Ok(info(key, record));
            }
        }
    }

    /// Removes a snapshot that no other stands on. Its files go with the next collection.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FailedPrecondition`] while others stand on it.
    pub async fn remove(&self, caller: &Caller, key: &str) -> Result<(), Error> {
        let namespace = &caller.namespace;
        let _claim = self.claim(namespace, &[key], &[]).await;
        let children = key::children(namespace, self.name(), key);
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(key))?;
            let mut txn = self.inner.begin().await;
            let at = self.key(namespace, key);
            let Some(record) = txn.get::<SnapshotRecord>(&at).await? else {
                return Err(missing(key));
            };
            if !self.inner.kv.range(&children, 1).await?.is_empty() {
                return Err(Error::FailedPrecondition {
                    what: "cannot remove snapshot with child".to_owned(),
                });
            }
            txn.require_empty(&children);
            txn.delete(at);
            if !record.parent.is_empty() {
                txn.delete(key::child(namespace, self.name(), &record.parent, key));
            }
            leases::lease_remove(&mut txn, caller, &self.resource(), key);
            txn.removes();
            let event = Event::SnapshotRemove {
                key: key.to_owned(),
                snapshotter: self.name().to_owned(),
            };
            txn.publish(Envelope::now(namespace, event));
            // Before it happens: the collection that it makes worth while must see this.
            self.leaves_files();
            if txn.commit().await? {
                // And after it: one that ran meanwhile has still seen the record.
                self.leaves_files();
                let dropped = gc::labels::references(namespace, &record.labels);
                self.inner.try_end_grace(namespace, dropped).await;
                return Ok(());
            }
        }
    }
}

fn change(labels: &mut Labels, new: &Labels, paths: &[String], key: &str) -> Result<(), Error> {
    if paths.is_empty() {
        *labels = names::without_empty(new.clone());
    }
    for path in paths {
        if path == "labels" {
            *labels = names::without_empty(new.clone());
        } else if let Some(label) = path.strip_prefix("labels.") {
            names::set_label(labels, label, new.get(label).map(String::as_str));
        } else {
            return Err(Error::Immutable {
                field: path.clone(),
                object: object(key),
            });
        }
    }
    Ok(())
}
