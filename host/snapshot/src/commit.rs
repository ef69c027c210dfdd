//! An active snapshot becomes a committed one: first its files are brought to the disk, then its record changes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use transom_meta::names::Labels;
use transom_meta::snapshots::{Kind, SnapshotError, Usage};

use crate::error::{io, records};
use crate::local::{Inner, check, not_found};
use crate::records::{SnapshotRecord, Txn};
use crate::steps::Step;
use crate::tree::Failure;

impl Inner {
    /// Commits `key` as `name`.
    pub(crate) async fn commit(
        self: Arc<Self>,
        name: &str,
        key: &str,
        parent: &str,
        mut labels: Labels,
    ) -> Result<(), SnapshotError> {
        check(name, &labels)?;
        labels.retain(|_, value| !value.is_empty());
        let mut measured: Option<(u64, Usage)> = None;
        for _ in 0..transom_meta::limits::TRIES {
            let mut txn = self.records.begin();
            let active = txn.get(key).await?.ok_or_else(|| not_found(key))?;
            if txn.get(name).await?.is_some() {
                let key = name.to_owned();
                return Err(SnapshotError::AlreadyExists { key });
            }
            if active.kind() != Kind::Active {
                return Err(SnapshotError::State {
                    what: format!("snapshot {key:?} is not active"),
                });
            }
            let based = self.rebased(&mut txn, key, &active, parent).await?;
            let usage = match measured {
                Some((id, usage)) if id == active.id => usage,
                _ => match self.settle(active.id).await {
                    Ok(usage) => usage,
                    Err(_) if self.records.get(key).await?.as_ref() != Some(&active) => continue,
                    Err(error) => return Err(error),
                },
            };
            measured = Some((active.id, usage));
            txn.erase(key, &active);
            txn.write(name, &based.committed(usage, labels.clone()));
            if txn.commit().await.map_err(records)? {
                self.reached(Step::Committed);
                return Ok(());
            }
        }
        Err(self.records.contended(key))
    }

    /// The snapshot on the parent that it is to have.
    async fn rebased(
        &self,
        txn: &mut Txn<'_>,
        key: &str,
        active: &SnapshotRecord,
        parent: &str,
    ) -> Result<SnapshotRecord, SnapshotError> {
        if parent.is_empty() || parent == active.parent {
            return Ok(active.clone());
        }
        if !active.parent.is_empty() || !self.driver.rebases() {
            let name = self.driver.name();
            let what = if active.parent.is_empty() {
                format!(
                    "cannot change parent of active snapshot {key:?}: {name} copies it when it is prepared"
                )
            } else {
                format!("cannot change parent of active snapshot {key:?}")
            };
            return Err(SnapshotError::Invalid { what });
        }
        let below = self.below(txn, parent).await?;
        self.driver.check(below.len(), &active.labels)?;
        let mut based = active.clone();
        based.parent = parent.to_owned();
        based.below = below;
        Ok(based)
    }

    /// Measures what a snapshot has, and brings it to the disk: one sync, shared with all who commit meanwhile.
    async fn settle(self: &Arc<Self>, id: u64) -> Result<Usage, SnapshotError> {
        let files = self.driver.files();
        let measured = self.blocking(move |inner| inner.folders.measure(id, files)).await;
        let usage = measured.map_err(|failure| self.unmeasured(id, &failure))?;
        self.reached(Step::Measured);
        self.sync().await?;
        self.reached(Step::Synced);
        Ok(usage)
    }

    /// The error of a measurement.
    pub(crate) fn unmeasured(&self, id: u64, failure: &Failure) -> SnapshotError {
        let path = self.folders.path(id).join(self.driver.files());
        io(
            "measure",
            &path.join(OsStr::from_bytes(&failure.path)),
            failure.error,
        )
    }
}
