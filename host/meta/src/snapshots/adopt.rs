//! A snapshotter that answers to a request for a snapshot that it has it already, as those do that fetch layers themselves.

use super::create::New;
use super::{Info, Kind, REFERENCE, Snapshots, number, object};
use crate::leases;
use crate::limits::PAGE;
use crate::record::{SnapshotRecord, Time};
use crate::transaction::Tries;
use crate::{Error, names};

impl Snapshots {
    /// Gives the committed snapshot that the label of `new` names to the namespace. The error is what the client is told: at
    /// best, that it is there. `parent` and `key` are the backend's.
    pub(super) async fn adopt(&self, new: &New, parent: &str, key: &str) -> Error {
        let Some(target) = new.labels.get(REFERENCE) else {
            // A key that was never used before.
            let what = format!("snapshot {key:?}: already exists");
            return Error::Snapshotter { what };
        };
        // The sweep may have seen it without a record.
        let _adoption = self.loaded.adoptions.read().await;
        match self.adopted(new, parent, target).await {
            Ok(()) => Error::AlreadyExists {
                object: format!("target snapshot {target:?} from snapshotter"),
            },
            Err(error) => error,
        }
    }

    async fn adopted(&self, new: &New, parent: &str, target: &str) -> Result<(), Error> {
        let found = self.offered(parent, target).await?;
        let found = found.ok_or_else(|| Error::NotFound {
            object: format!("target snapshot {target:?} in backend"),
        })?;
        let mut labels = new.labels.clone();
        labels.extend(names::without_empty(found.labels));
        let record = SnapshotRecord {
            labels,
            backend: found.name,
            parent: new.parent.clone(),
            kind: number(Kind::Committed),
            created: Some(Time::from(found.created)),
            updated: Some(Time::from(found.updated)),
        };
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(target))?;
            let mut txn = self.inner.begin().await;
            let there = txn.has(&self.key(&new.caller.namespace, target)).await?;
            if self.stands_on(&mut txn, &new.caller, &new.parent).await? != parent {
                return Err(Error::Invalid {
                    what: format!("mismatched parent {} from target {target}", new.parent),
                });
            }
            if there {
                leases::lease_add(&mut txn, &new.caller, &self.resource(), target).await?;
                txn.touch(self.node(&new.caller.namespace, target));
            } else {
                self.put(&mut txn, &new.caller, target, &record).await?;
            }
            if txn.commit().await? {
                return Ok(());
            }
        }
    }

    /// The backend's committed snapshot with that label on that parent.
    async fn offered(&self, parent: &str, target: &str) -> Result<Option<Info>, Error> {
        let is_it = |info: &Info| {
            info.kind == Kind::Committed
                && info.parent == parent
                && info.labels.get(REFERENCE).is_some_and(|found| found == target)
        };
        let mut after: Option<String> = None;
        loop {
            let page = self.loaded.backend.list(after.as_deref(), PAGE).await?;
            let (full, last) = (page.len() == PAGE, page.last().map(|info| info.name.clone()));
            if let Some(found) = page.into_iter().find(is_it) {
                return Ok(Some(found));
            }
            if !full {
                return Ok(None);
            }
            after = last;
        }
    }
}
