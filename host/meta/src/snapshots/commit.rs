//! Committing: an active snapshot becomes one that others can stand on.

use super::{
    Kind, LABELS, Snapshots, check_key, exists, inherited, kind, missing, missing_parent, new_record,
    not_committed, object, parse_backend,
};
use crate::events::{Envelope, Event};
use crate::leases;
use crate::metadata::joined;
use crate::names::{self, Caller, Labels};
use crate::record::SnapshotRecord;
use crate::transaction::Tries;
use crate::{Error, key};

/// A snapshot to be committed.
#[derive(Debug)]
struct Commit {
    caller: Caller,
    name: String,
    key: String,
    parent: String,
    labels: Labels,
}

impl Snapshots {
    /// Turns the active snapshot `key` into the committed one `name`, with these labels instead of its own. With a `parent`
    /// that is not empty, one without a parent is put onto that one, if the snapshotter can do that.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the snapshot or the caller's lease; [`Error::AlreadyExists`] if the name is taken, by a
    /// snapshot that then is the caller's lease's; [`Error::FailedPrecondition`] if it is not active; [`Error::Invalid`]
    /// if it has another parent; [`Error::Label`], [`Error::Snapshot`].
    pub async fn commit(
        &self,
        caller: &Caller,
        name: &str,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<(), Error> {
        check_key("snapshot name", name)?;
        names::labels(LABELS, &labels)?;
        let commit = Commit {
            caller: caller.clone(),
            name: name.to_owned(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: names::without_empty(labels),
        };
        let snapshots = self.clone();
        // A task of its own, as when one is made.
        joined(tokio::spawn(async move { snapshots.committed(&commit).await }).await)
    }

    async fn committed(&self, commit: &Commit) -> Result<(), Error> {
        let namespace = &commit.caller.namespace;
        let _claim = self
            .claim(namespace, &[&commit.name, &commit.key], &[&commit.parent])
            .await;
        if self.enlist(&commit.caller, &commit.name).await? {
            return Err(exists(&commit.name));
        }
        let active = self.record(namespace, &commit.key).await?;
        let (parent, rebase) = self.rebased(commit, &active).await?;
        self.check_lease(&commit.caller).await?;
        // The same number: a commit that a crash cuts off here can be told by it.
        let (_, number, _) = parse_backend(&active.backend).ok_or_else(|| missing(&commit.key))?;
        let backend = super::backend_key(namespace, number, &commit.name);
        let labels = inherited(&commit.labels);
        let done = self
            .loaded
            .backend
            .commit(&backend, &active.backend, &rebase, labels);
        done.await?;
        let record = new_record(Kind::Committed, backend, parent, commit.labels.clone());
        let recorded = self
            .move_record(&commit.caller, &commit.name, &commit.key, &record)
            .await;
        if recorded.is_err() {
            self.leaves_files();
        }
        recorded
    }

    /// The parent that it then has, and the backend's key of it if it had none before.
    async fn rebased(&self, commit: &Commit, active: &SnapshotRecord) -> Result<(String, String), Error> {
        if kind(active) != Kind::Active {
            return Err(Error::FailedPrecondition {
                what: format!("{} is not active", object(&commit.key)),
            });
        }
        if commit.parent.is_empty() || commit.parent == active.parent {
            return Ok((active.parent.clone(), String::new()));
        }
        if !active.parent.is_empty() {
            return Err(Error::Invalid {
                what: "cannot change parent of active snapshot".to_owned(),
            });
        }
        let found = self.find(&commit.caller.namespace, &commit.parent).await?;
        let parent = found.ok_or_else(|| missing_parent(&commit.parent))?;
        if kind(&parent) != Kind::Committed {
            return Err(not_committed(&commit.parent));
        }
        Ok((commit.parent.clone(), parent.backend))
    }

    /// Replaces the record of an active snapshot by that of the committed one.
    pub(super) async fn move_record(
        &self,
        caller: &Caller,
        name: &str,
        from: &str,
        record: &SnapshotRecord,
    ) -> Result<(), Error> {
        let namespace = &caller.namespace;
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(name))?;
            let mut txn = self.inner.begin().await;
            if txn.has(&self.key(namespace, name)).await? {
                return Err(exists(name));
            }
            let old = self.key(namespace, from);
            let active = txn
                .get::<SnapshotRecord>(&old)
                .await?
                .ok_or_else(|| missing(from))?;
            self.stands_on(&mut txn, caller, &record.parent).await?;
            txn.delete(old);
            if !active.parent.is_empty() {
                txn.delete(key::child(namespace, self.name(), &active.parent, from));
            }
            leases::lease_remove(&mut txn, caller, &self.resource(), from);
            self.put(&mut txn, caller, name, record).await?;
            let event = Event::SnapshotCommit {
                key: from.to_owned(),
                name: name.to_owned(),
                snapshotter: self.name().to_owned(),
            };
            txn.publish(Envelope::now(namespace, event));
            if txn.commit().await? {
                return Ok(());
            }
        }
    }
}
