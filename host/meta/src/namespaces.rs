//! Namespaces: a name, labels, and everything that lies under it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::events::{Envelope, Event};
use crate::key::{self, Kind};
use crate::kv::{Durability, Range};
use crate::metadata::Inner;
use crate::names::{self, Labels, Namespace};
use crate::record::{IngestRecord, NamespaceRecord};
use crate::transaction::Tries;
use crate::{Error, Metadata};

/// What the errors call a namespace's labels.
const LABELS: &str = "namespace.Labels";

impl Metadata {
    /// The labels of a namespace; none if it is not known, as with containerd.
    ///
    /// # Errors
    /// [`Error::Kv`], [`Error::Record`].
    pub async fn namespace_labels(&self, namespace: &Namespace) -> Result<Labels, Error> {
        let key = key::namespace(namespace);
        let found = self.inner.get::<NamespaceRecord>(&key).await?;
        Ok(found.unwrap_or_default().labels)
    }

    /// All namespaces, with their labels, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Kv`], [`Error::Record`].
    pub async fn namespaces(&self) -> Result<BTreeMap<Namespace, Labels>, Error> {
        let mut namespaces = BTreeMap::new();
        let mut rest = Some(key::namespaces());
        while let Some(range) = rest {
            let (page, more) = self.inner.page(&range).await?;
            let named = |(key, record): (Bytes, _)| Some((key::parse_namespace(&key)?, labels_of(record)));
            namespaces.extend(page.into_iter().filter_map(named));
            rest = more;
        }
        Ok(namespaces)
    }

    /// Makes a namespace. It is not needed before something is stored in it, only to give it labels.
    ///
    /// # Errors
    /// [`Error::Label`], [`Error::AlreadyExists`].
    pub async fn create_namespace(&self, namespace: &Namespace, labels: Labels) -> Result<(), Error> {
        names::labels(LABELS, &labels)?;
        let labels = names::without_empty(labels);
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(namespace))?;
            let mut txn = self.inner.begin().await;
            let key = key::namespace(namespace);
            if txn.has(&key).await? {
                return Err(Error::AlreadyExists {
                    object: object(namespace),
                });
            }
            let record = NamespaceRecord {
                labels: labels.clone(),
                closing: 0,
            };
            txn.put(key, &record);
            let event = Event::NamespaceCreate {
                name: namespace.to_string(),
                labels: labels.clone(),
            };
            txn.publish(Envelope::now(namespace, event));
            if txn.commit().await? {
                return Ok(());
            }
        }
    }

    /// Changes labels: those that `paths` name (`labels.<key>`), or all if there are no paths. An unknown namespace is made.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another path, [`Error::Label`].
    pub async fn update_namespace(
        &self,
        namespace: &Namespace,
        labels: Labels,
        paths: &[String],
    ) -> Result<(), Error> {
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(namespace))?;
            let mut txn = self.inner.begin().await;
            let key = key::namespace(namespace);
            let found = txn.get::<NamespaceRecord>(&key).await?.unwrap_or_default();
            let record = NamespaceRecord {
                labels: changed(found.labels, &labels, paths)?,
                closing: 0,
            };
            txn.put(key, &record);
            let event = Event::NamespaceUpdate {
                name: namespace.to_string(),
                labels: labels.clone(),
            };
            txn.publish(Envelope::now(namespace, event));
            if txn.commit().await? {
                return Ok(());
            }
        }
    }

    /// Removes a namespace that has no images, content and snapshots any more, with its leases and ingests.
    ///
    /// What is written in it at the same time wins: then it is not empty, and stays.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::FailedPrecondition`] that names what it still has.
    pub async fn delete_namespace(&self, namespace: &Namespace) -> Result<(), Error> {
        let inner = &*self.inner;
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(namespace))?;
            inner.refuse_if_filled(namespace).await?;
            let Some(closing) = inner.close_namespace(namespace).await? else {
                continue;
            };
            // Whatever began before the namespace was closing cannot commit any more, and whatever begins now opens it
            // again: what is read from here on is all there is, or the transaction fails.
            let mut txn = inner.begin().await;
            let key = key::namespace(namespace);
            if txn.get::<NamespaceRecord>(&key).await?.as_ref() != Some(&closing) {
                continue;
            }
            for kind in [Kind::Image, Kind::Content, Kind::Snapshot] {
                txn.require_empty(&key::all(kind, namespace));
            }
            for key in inner.contents(namespace).await? {
                txn.delete(key);
                txn.removes();
            }
            txn.delete(key);
            let name = namespace.to_string();
            txn.publish(Envelope::now(namespace, Event::NamespaceDelete { name }));
            if txn.commit().await? {
                return Ok(());
            }
        }
    }
}

impl Inner {
    /// Marks a namespace as being deleted, by a number of its own; `None` if it was changed meanwhile.
    async fn close_namespace(&self, namespace: &Namespace) -> Result<Option<NamespaceRecord>, Error> {
        let number = self.next_number().await? + 1;
        let mut txn = self.begin().await;
        let key = key::namespace(namespace);
        let Some(mut record) = txn.get::<NamespaceRecord>(&key).await? else {
            return Err(Error::NotFound {
                object: object(namespace),
            });
        };
        if record.closing == 0 {
            record.closing = number;
            txn.put(key, &record);
        }
        // It may be lost: a namespace that is not being deleted after a crash is what it was before.
        let done = txn.commit_as(Durability::Eventual).await?;
        Ok(done.then_some(record))
    }

    async fn refuse_if_filled(&self, namespace: &Namespace) -> Result<(), Error> {
        let mut left = Vec::new();
        for (kind, name) in [(Kind::Image, "images"), (Kind::Content, "blobs")] {
            if !self.kv.range(&key::all(kind, namespace), 1).await?.is_empty() {
                left.push(name.to_owned());
            }
        }
        for snapshotter in self.snapshotters(namespace).await? {
            left.push(format!("snapshots on {snapshotter:?} snapshotter"));
        }
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::FailedPrecondition {
            what: format!(
                "{} must be empty, but it still has {}",
                object(namespace),
                left.join(", ")
            ),
        })
    }

    /// The keys of what goes with a namespace. The bytes of its ingests are the collector's.
    async fn contents(&self, namespace: &Namespace) -> Result<Vec<Bytes>, Error> {
        let mut keys = Vec::new();
        let mut rest = Some(key::all(Kind::Ingest, namespace));
        while let Some(range) = rest {
            let (page, more) = self.page::<IngestRecord>(&range).await?;
            for (key, record) in page {
                if let Some(reference) = key::name(&key).filter(|_| !record.expected.is_empty()) {
                    keys.push(key::expecter(&record.expected, namespace, reference));
                }
                keys.push(key);
            }
            rest = more;
        }
        for range in [
            key::all(Kind::Lease, namespace),
            key::all_resources(namespace),
            key::all(Kind::Grace, namespace),
        ] {
            keys.append(&mut self.keys(range).await?);
        }
        Ok(keys)
    }

    /// The snapshotters that have snapshots in the namespace, each found by one read.
    async fn snapshotters(&self, namespace: &Namespace) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        let mut range = key::all(Kind::Snapshot, namespace);
        while let Some(pair) = self.kv.range(&range, 1).await?.pop() {
            let name = key::name(&pair.key).and_then(|name| name.split_once('/'));
            let Some((snapshotter, _)) = name else {
                range = range.after(&pair.key);
                continue;
            };
            let these = key::of(Kind::Snapshot, namespace, &format!("{snapshotter}/"));
            range.start = Range::prefix(these).end.unwrap_or_default();
            found.push(snapshotter.to_owned());
        }
        Ok(found)
    }
}

fn changed(mut labels: Labels, new: &Labels, paths: &[String]) -> Result<Labels, Error> {
    if paths.is_empty() {
        names::labels(LABELS, new)?;
        return Ok(names::without_empty(new.clone()));
    }
    for path in paths {
        let Some(key) = path.strip_prefix("labels.") else {
            return Err(Error::Invalid {
                what: format!("cannot update {path:?} field"),
            });
        };
        let value = new.get(key).map(String::as_str);
        names::label(LABELS, key, value.unwrap_or_default())?;
        names::set_label(&mut labels, key, value);
    }
    Ok(labels)
}

fn labels_of(record: NamespaceRecord) -> Labels {
    record.labels
}

fn object(namespace: &Namespace) -> String {
    format!("namespace {:?}", namespace.as_str())
}
