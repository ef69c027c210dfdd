//! A snapshot goes: first its record, then its files. A crash in between leaves a folder that nothing knows.

use std::sync::Arc;

use transom_meta::snapshots::SnapshotError;

use crate::error::records;
use crate::local::{Inner, not_found};
use crate::steps::Step;

impl Inner {
    /// Removes a snapshot. That files stay is no error of the call: they are removed later.
    pub(crate) async fn remove(self: Arc<Self>, key: &str) -> Result<(), SnapshotError> {
        let id = self.forget(key).await?;
        self.reached(Step::Forgotten);
        let name = id.to_string();
        self.folders.abandon(name.clone());
        let inner = Arc::clone(&self);
        let removal = async move {
            // What stays is logged, and tried again.
            let _ = inner.blocking(move |inner| inner.folders.remove(&name)).await;
        };
        if self.async_remove {
            tokio::spawn(removal);
        } else {
            removal.await;
        }
        Ok(())
    }

    /// Removes the record; the id of its folder.
    async fn forget(&self, key: &str) -> Result<u64, SnapshotError> {
        for _ in 0..transom_meta::limits::TRIES {
            let mut txn = self.records.begin();
            let record = txn.get(key).await?.ok_or_else(|| not_found(key))?;
            if self.records.has_children(key).await? {
                return Err(SnapshotError::State {
                    what: "cannot remove snapshot with child".to_owned(),
                });
            }
            txn.require_no_children(key);
            txn.erase(key, &record);
            if txn.commit().await.map_err(records)? {
                return Ok(record.id);
            }
        }
        Err(self.records.contended(key))
    }

    /// Removes the folders that nothing needs. All are tried; the first that stays is the error.
    pub(crate) async fn cleanup(self: Arc<Self>) -> Result<(), SnapshotError> {
        let _one_at_a_time = self.cleaning.lock().await;
        let mut outcome = Ok(());
        for name in self.folders.abandoned() {
            let removed = self.blocking(move |inner| inner.folders.remove(&name)).await;
            outcome = outcome.and(removed);
        }
        outcome
    }
}
