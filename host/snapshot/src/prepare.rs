//! A new snapshot: first its folder, then its record. A crash in between leaves a folder that nothing knows.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use transom_meta::kv::KvError;
use transom_meta::names::Labels;
use transom_meta::snapshots::{Kind, SnapshotError};
use transom_sys::Mount;

use crate::driver::Wanted;
use crate::error::records;
use crate::local::{Inner, check};
use crate::records::{SnapshotRecord, Txn};
use crate::steps::Step;

/// The folder that a call has made.
#[derive(Debug)]
struct Made {
    id: u64,
    /// The parent that it was made on.
    parent: Option<u64>,
}

impl Inner {
    /// Makes an active snapshot or a view.
    pub(crate) async fn create(
        self: Arc<Self>,
        kind: Kind,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<Vec<Mount>, SnapshotError> {
        check(key, &labels)?;
        let mut made = None;
        let created = self.try_create(kind, key, parent, labels, &mut made).await;
        if created.is_err() {
            self.unmake(made).await;
        }
        created
    }

    async fn try_create(
        self: &Arc<Self>,
        kind: Kind,
        key: &str,
        parent: &str,
        mut labels: Labels,
        made: &mut Option<Made>,
    ) -> Result<Vec<Mount>, SnapshotError> {
        labels.retain(|_, value| !value.is_empty());
        for _ in 0..transom_meta::limits::TRIES {
            let mut txn = self.records.begin();
            let below = self.below(&mut txn, parent).await?;
            if txn.get(key).await?.is_some() {
                return Err(SnapshotError::AlreadyExists { key: key.to_owned() });
            }
            self.driver.check(below.len(), &labels)?;
            let on = below.first().copied();
            if made.as_ref().is_none_or(|made| made.parent != on) {
                self.unmake(made.take()).await;
                match self.make(kind, on, &labels).await {
                    Ok(id) => *made = Some(Made { id, parent: on }),
                    Err(_) if self.has_changed(parent, on).await? => continue,
                    Err(error) => return Err(error),
                }
            }
            let id = made.as_ref().map_or(0, |made| made.id);
            let record = SnapshotRecord::new(id, kind, parent, below, labels.clone());
            txn.write(key, &record);
            match txn.commit().await {
                Ok(true) => {
                    self.reached(Step::Recorded);
                    return self.mounts_of(key, &record);
                }
                Ok(false) => {}
                Err(error) => {
                    // The record may be on the disk: then its folder must be, too.
                    if !matches!(error, KvError::NoSpace) {
                        *made = None;
                    }
                    return Err(records(error));
                }
            }
        }
        Err(self.records.contended(key))
    }

    /// The ids that a snapshot on `parent` stands on, nearest first. The parent stays as it is until the transaction.
    pub(crate) async fn below(&self, txn: &mut Txn<'_>, parent: &str) -> Result<Vec<u64>, SnapshotError> {
        if parent.is_empty() {
            return Ok(Vec::new());
        }
        let named = || parent.to_owned();
        match txn.get(parent).await? {
            None => Err(SnapshotError::ParentNotFound { parent: named() }),
            Some(record) if record.kind() != Kind::Committed => {
                Err(SnapshotError::ParentNotCommitted { parent: named() })
            }
            Some(record) => Ok(record.stack()),
        }
    }

    /// Whether a parent is another one now, or gone.
    async fn has_changed(&self, parent: &str, id: Option<u64>) -> Result<bool, SnapshotError> {
        if parent.is_empty() {
            return Ok(false);
        }
        let now = self.records.get(parent).await?;
        Ok(now.map(|record| record.id) != id)
    }

    /// Makes a folder, with its name. For a driver that copies it is on the disk then.
    async fn make(
        self: &Arc<Self>,
        kind: Kind,
        parent: Option<u64>,
        labels: &Labels,
    ) -> Result<u64, SnapshotError> {
        let id = self.next_id().await?;
        if self.driver.has_folder(kind, parent.is_some()) {
            let labels = labels.clone();
            self.fill(id, Wanted { parent, labels }).await?;
        }
        Ok(id)
    }

    /// Makes and fills the folder of an id.
    pub(crate) async fn fill(self: &Arc<Self>, id: u64, wanted: Wanted) -> Result<(), SnapshotError> {
        let durably = self.driver.copies() && wanted.parent.is_some();
        let filling = self.blocking(move |inner| {
            let fill = |new: BorrowedFd<'_>| inner.driver.fill(&inner.folders, new, &wanted);
            inner.folders.make(id, fill)?;
            if durably {
                return Ok(());
            }
            inner.name(id, durably)
        });
        filling.await?;
        if durably {
            let synced = self.sync().await;
            let naming = self.blocking(move |inner| match synced {
                Ok(()) => inner.name(id, durably),
                Err(error) => {
                    inner.folders.discard_made(id);
                    Err(error)
                }
            });
            naming.await?;
        }
        Ok(())
    }

    fn name(&self, id: u64, durably: bool) -> Result<(), SnapshotError> {
        let named = self.folders.name(id, durably);
        if named.is_err() {
            self.folders.discard_made(id);
        }
        named
    }

    /// Removes the folder of a call that failed.
    async fn unmake(self: &Arc<Self>, made: Option<Made>) {
        if let Some(made) = made {
            let id = made.id;
            self.blocking(move |inner| inner.folders.discard(&id.to_string()))
                .await;
        }
    }
}
