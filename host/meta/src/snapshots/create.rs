//! Making active snapshots and views.

use transom_sys::Mount;

use super::{
    Kind, LABELS, REFERENCE, SnapshotError, Snapshots, backend_key, check_key, exists, inherited, kind,
    missing_parent, new_record, not_committed, object,
};
use crate::events::{Envelope, Event};
use crate::leases;
use crate::metadata::joined;
use crate::names::{self, Caller, Labels};
use crate::record::SnapshotRecord;
use crate::transaction::{Tries, Txn};
use crate::{Error, gc};

/// A snapshot to be made.
#[derive(Debug)]
pub(super) struct New {
    pub(super) caller: Caller,
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) parent: String,
    pub(super) labels: Labels,
}

impl Snapshots {
    /// Makes an active snapshot on a committed one, or on nothing with an empty `parent`, and gives its mounts.
    ///
    /// The label `containerd.io/snapshot.ref` names the committed snapshot that is to come of it: if the namespace or the
    /// snapshotter has that one, nothing is made.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for a key that is taken, and for a snapshot by that label, which is then the namespace's and
    /// the caller's lease's; [`Error::NotFound`] without the caller's lease; [`Error::Snapshot`] without the parent, or if it is not
    /// committed; [`Error::Label`], [`Error::Invalid`].
    pub async fn prepare(
        &self,
        caller: &Caller,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<Vec<Mount>, Error> {
        self.make(Kind::Active, caller, key, parent, labels).await
    }

    /// Makes a view: as [`prepare`](Self::prepare), but it cannot be written to, nor committed.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub async fn view(
        &self,
        caller: &Caller,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<Vec<Mount>, Error> {
        self.make(Kind::View, caller, key, parent, labels).await
    }

    async fn make(
        &self,
        kind: Kind,
        caller: &Caller,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<Vec<Mount>, Error> {
        check_key("snapshot key", key)?;
        names::labels(LABELS, &labels)?;
        let new = New {
            caller: caller.clone(),
            kind,
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: names::without_empty(labels),
        };
        let snapshots = self.clone();
        // A task of its own: it comes to its end when the client hangs up, so that there are never files that nobody has in hand.
        joined(tokio::spawn(async move { snapshots.create(&new).await }).await)
    }

    async fn create(&self, new: &New) -> Result<Vec<Mount>, Error> {
        let namespace = &new.caller.namespace;
        let _claim = self.claim(namespace, &[&new.key], &[&new.parent]).await;
        let parent = self.admit(new).await?;
        let backend = backend_key(namespace, self.inner.next_number().await?, &new.key);
        let labels = inherited(&new.labels);
        let snapshotter = &self.loaded.backend;
        let made = match new.kind {
            Kind::View => snapshotter.view(&backend, &parent, labels).await,
            Kind::Active | Kind::Committed => snapshotter.prepare(&backend, &parent, labels).await,
        };
        let mounts = match made {
            Ok(mounts) => mounts,
            Err(SnapshotError::AlreadyExists { key }) => return Err(self.adopt(new, &parent, &key).await),
            Err(error) => return Err(error.into()),
        };
        let record = new_record(new.kind, backend, new.parent.clone(), new.labels.clone());
        match self.store(new, &record, &parent).await {
            Ok(()) => Ok(mounts),
            Err(error) => {
                self.undo(&record.backend).await;
                Err(error)
            }
        }
    }

    /// Says what is wrong with a request before anything is made for it, or else the backend's key of the parent.
    async fn admit(&self, new: &New) -> Result<String, Error> {
        let namespace = &new.caller.namespace;
        if let Some(target) = new.labels.get(REFERENCE)
            && self.enlist(&new.caller, target).await?
        {
            return Err(Error::AlreadyExists {
                object: format!("target snapshot {target:?}"),
            });
        }
        if self.find(namespace, &new.key).await?.is_some() {
            return Err(exists(&new.key));
        }
        self.check_lease(&new.caller).await?;
        self.parent(new).await
    }

    async fn parent(&self, new: &New) -> Result<String, Error> {
        if new.parent.is_empty() {
            return Ok(String::new());
        }
        let found = self.find(&new.caller.namespace, &new.parent).await?;
        let parent = found.ok_or_else(|| missing_parent(&new.parent))?;
        if kind(&parent) != Kind::Committed {
            return Err(not_committed(&new.parent));
        }
        Ok(parent.backend)
    }

    /// Adds a snapshot to the caller's lease, if there is that snapshot; says whether there is.
    pub(super) async fn enlist(&self, caller: &Caller, key: &str) -> Result<bool, Error> {
        let namespace = &caller.namespace;
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(key))?;
            let mut txn = self.inner.begin().await;
            let record = self.key(namespace, key);
            if txn.get::<SnapshotRecord>(&record).await?.is_none() {
                return Ok(false);
            }
            leases::lease_add(&mut txn, caller, &self.resource(), key).await?;
            txn.touch(self.node(namespace, key));
            if txn.commit().await? {
                return Ok(true);
            }
        }
    }

    /// Writes the record of what the backend has made on `parent`, the backend's key.
    async fn store(&self, new: &New, record: &SnapshotRecord, parent: &str) -> Result<(), Error> {
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(&new.key))?;
            let mut txn = self.inner.begin().await;
            if txn.has(&self.key(&new.caller.namespace, &new.key)).await? {
                return Err(exists(&new.key));
            }
            let found = self.stands_on(&mut txn, &new.caller, &new.parent).await?;
            if found != parent {
                return Err(missing_parent(&new.parent));
            }
            self.put(&mut txn, &new.caller, &new.key, record).await?;
            if new.kind == Kind::Active {
                let event = Event::SnapshotPrepare {
                    key: new.key.clone(),
                    parent: new.parent.clone(),
                    snapshotter: self.name().to_owned(),
                };
                txn.publish(Envelope::now(&new.caller.namespace, event));
            }
            if txn.commit().await? {
                return Ok(());
            }
        }
    }

    /// The backend's key of a parent, if there is to be one; the transaction happens only if that is still the same then.
    pub(super) async fn stands_on(
        &self,
        txn: &mut Txn<'_>,
        caller: &Caller,
        parent: &str,
    ) -> Result<String, Error> {
        if parent.is_empty() {
            return Ok(String::new());
        }
        let key = self.key(&caller.namespace, parent);
        let found = txn.get::<SnapshotRecord>(&key).await?;
        Ok(found.ok_or_else(|| missing_parent(parent))?.backend)
    }

    /// Puts a new record, and what goes with it, into a transaction.
    pub(super) async fn put(
        &self,
        txn: &mut Txn<'_>,
        caller: &Caller,
        key: &str,
        record: &SnapshotRecord,
    ) -> Result<(), Error> {
        let namespace = &caller.namespace;
        txn.enter(namespace).await?;
        leases::lease_add(txn, caller, &self.resource(), key).await?;
        txn.put(self.key(namespace, key), record);
        txn.touch(self.node(namespace, key));
        if !record.parent.is_empty() {
            txn.mark(crate::key::child(namespace, self.name(), &record.parent, key));
            txn.touch(self.node(namespace, &record.parent));
        }
        let references = gc::labels::references(namespace, &record.labels);
        references.into_iter().for_each(|node| txn.touch(node));
        Ok(())
    }

    /// Removes what the backend has made in vain; if that fails, the next collection does.
    async fn undo(&self, backend: &str) {
        self.leaves_files();
        if let Err(error) = self.loaded.backend.remove(backend).await {
            tracing::warn!(snapshot = backend, %error, "a snapshot is left for the next collection");
        }
    }
}
