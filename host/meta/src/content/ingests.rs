//! Ingests of namespaces: opened under a record, so that two namespaces can use one ref, and expiring if nothing keeps them.

use std::time::SystemTime;

use bytes::Bytes;
use transom_oci::Digest;

use super::Held;
use super::writer::{Source, Writer};
use crate::filter::Filters;
use crate::key::{self, Kind};
use crate::kv::Durability;
use crate::leases;
use crate::metadata::{Inner, Sharing, joined};
use crate::names::{self, Caller, Namespace};
use crate::record::{IngestRecord, NamespaceRecord, Time, time};
use crate::transaction::Tries;
use crate::{Error, Metadata, Node};

/// The label of a namespace that lets others have its blobs under the isolated policy.
const SHAREABLE: &str = "containerd.io/namespace.shareable";

/// How far an ingest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestStatus {
    /// The client's ref.
    pub reference: String,
    /// Bytes so far.
    pub offset: u64,
    /// Bytes that there will be, if somebody said.
    pub total: Option<u64>,
    /// The blob that it shares, if it needs no bytes.
    pub expected: Option<Digest>,
    /// When it was first opened.
    pub started: SystemTime,
    /// When it was last written.
    pub updated: SystemTime,
}

impl Metadata {
    /// Opens an ingest for writing. What an earlier writer left is taken up again, unless another total is given.
    ///
    /// If the blob `expected` is here and may be shared, no bytes are needed: the writer stands at its end at once.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if this namespace has `expected` (the caller's lease then has it too), [`Error::NotFound`] if
    /// the caller's lease does not exist, [`Error::Content`] if the ref is being written.
    pub async fn ingest(
        &self,
        caller: &Caller,
        reference: &str,
        total: Option<u64>,
        expected: Option<&Digest>,
    ) -> Result<Writer, Error> {
        if reference.is_empty() {
            return Err(Error::Invalid {
                what: "ref must not be empty".to_owned(),
            });
        }
        names::length("ref", reference)?;
        // So that a blob that is found here is still here when the record says so.
        let held = match expected {
            Some(expected) => Some(self.inner.digests.hold(expected).await),
            None => None,
        };
        let opened = self.inner.open(caller, reference, total, expected, held);
        let (record, shared) = opened.await?;
        let source = match (shared, expected) {
            (Some(size), Some(digest)) => Source::shared(digest.clone(), size, time(record.started)),
            _ => Source::open(&self.inner.blobs, &record.backend, total).await?,
        };
        let writer = Writer::new(self.inner.clone(), caller, reference, record.backend, source);
        Ok(writer)
    }

    /// How far an ingest is.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Content`].
    pub async fn ingest_status(&self, caller: &Caller, reference: &str) -> Result<IngestStatus, Error> {
        let missing = || Error::NotFound {
            object: format!("could not get status for ref {reference:?}: reference {reference}"),
        };
        let key = key::of(Kind::Ingest, &caller.namespace, reference);
        let record = self.inner.get::<IngestRecord>(&key).await?.ok_or_else(missing)?;
        let status = self.inner.status(reference.to_owned(), record).await?;
        status.ok_or_else(missing)
    }

    /// How far the ingests are that match a filter, in byte order of their refs. Field: `ref`.
    ///
    /// # Errors
    /// [`Error::Filter`], [`Error::Content`].
    pub async fn ingest_statuses(
        &self,
        caller: &Caller,
        filters: &[String],
    ) -> Result<Vec<IngestStatus>, Error> {
        let filters = Filters::compile(filters, &self.inner.options.plugins)?;
        let mut found = Vec::new();
        let mut rest = Some(key::all(Kind::Ingest, &caller.namespace));
        while let Some(range) = rest {
            let (page, more) = self.inner.page::<IngestRecord>(&range).await?;
            for (key, record) in page {
                let Some(reference) = key::name(&key) else {
                    continue;
                };
                found.extend(self.inner.status(reference.to_owned(), record).await?);
            }
            rest = more;
        }
        Ok(crate::metadata::matching(&filters.into(), found).await?)
    }

    /// Removes an ingest and its bytes, also while a writer has it open.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Content`].
    pub async fn ingest_abort(&self, caller: &Caller, reference: &str) -> Result<(), Error> {
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(reference))?;
            let mut txn = self.inner.begin().await;
            let key = key::of(Kind::Ingest, &caller.namespace, reference);
            let Some(record) = txn.get::<IngestRecord>(&key).await? else {
                return Err(Error::NotFound {
                    object: object(reference),
                });
            };
            txn.delete(key);
            if !record.expected.is_empty() {
                txn.delete(key::expecter(&record.expected, &caller.namespace, reference));
            }
            leases::lease_remove(&mut txn, caller, leases::INGESTS, reference);
            if txn.commit().await? {
                return self.inner.abort_bytes(record.backend).await;
            }
        }
    }
}

impl Inner {
    /// Writes the record of an ingest that is being opened; with the size of the blob that it shares, if it does.
    async fn open(
        &self,
        caller: &Caller,
        reference: &str,
        total: Option<u64>,
        expected: Option<&Digest>,
        held: Option<Held>,
    ) -> Result<(IngestRecord, Option<u64>), Error> {
        let namespace = &caller.namespace;
        let key = key::of(Kind::Ingest, namespace, reference);
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(reference))?;
            let fresh = match self.get::<IngestRecord>(&key).await? {
                Some(_) => String::new(),
                None => format!("{namespace}/{}/{reference}", self.next_number().await?),
            };
            let shared = match expected {
                Some(expected) => self.shared(expected, total).await?,
                None => None,
            };
            let mut txn = self.begin().await;
            if let Some(held) = &held {
                txn.holds(Held::clone(held));
            }
            if let Some(digest) = expected {
                let has = key::of(Kind::Content, namespace, digest.as_str());
                if txn.has(&has).await? {
                    leases::lease_add(&mut txn, caller, leases::CONTENT, digest.as_str()).await?;
                    txn.touch(Node::Content(namespace.clone(), digest.clone()));
                    if !txn.commit().await? {
                        continue;
                    }
                    return Err(already(digest));
                }
            }
            let record = match txn.get::<IngestRecord>(&key).await? {
                Some(record) => record,
                None if fresh.is_empty() => continue,
                None => IngestRecord {
                    backend: fresh,
                    started: Some(Time::from(SystemTime::now())),
                    ..IngestRecord::default()
                },
            };
            let before = record.expected.clone();
            let record = self.refresh(record, caller, shared.and(expected));
            if before != record.expected && !before.is_empty() {
                txn.delete(key::expecter(&before, namespace, reference));
            }
            store(&mut txn, caller, reference, key.clone(), &record).await?;
            // Not flushed: an ingest whose writer has not closed it may be lost to a power cut, as its bytes may.
            if txn.commit_as(Durability::Eventual).await? {
                return Ok((record, shared));
            }
        }
    }

    fn refresh(&self, mut record: IngestRecord, caller: &Caller, shared: Option<&Digest>) -> IngestRecord {
        let expires = SystemTime::now().checked_add(self.options.ingest_expiry);
        record.expires = expires.filter(|_| caller.lease.is_none()).map(Time::from);
        record.expected = shared.map(Digest::to_string).unwrap_or_default();
        record
    }

    /// The size of a blob that an ingest may be given without its bytes.
    async fn shared(&self, digest: &Digest, total: Option<u64>) -> Result<Option<u64>, Error> {
        let mut holders = self.keys(key::holders(digest)).await?;
        if self.options.sharing == Sharing::Isolated {
            let mut shareable = Vec::new();
            for key in holders {
                let Some((_, namespace)) = key::parse_holder(&key) else {
                    continue;
                };
                let record = self.get::<NamespaceRecord>(&key::namespace(&namespace)).await?;
                if record.is_some_and(|record| record.labels.get(SHAREABLE).is_some_and(|is| is == "true")) {
                    shareable.push(key);
                }
            }
            holders = shareable;
        }
        if holders.is_empty() {
            return Ok(None);
        }
        let (blobs, digest) = (self.blobs.clone(), digest.clone());
        let found = joined(tokio::task::spawn_blocking(move || blobs.info(&digest)).await);
        let size = match found {
            Ok(info) => info.size,
            Err(transom_content::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(size).filter(|size| total.is_none_or(|total| total == *size)))
    }

    async fn status(&self, reference: String, record: IngestRecord) -> Result<Option<IngestStatus>, Error> {
        let blobs = self.blobs.clone();
        let look = move || {
            if let Ok(digest) = record.expected.parse::<Digest>() {
                let size = blobs.info(&digest)?.size;
                let started = time(record.started);
                return Ok(IngestStatus {
                    reference,
                    offset: size,
                    total: Some(size),
                    expected: Some(digest),
                    started,
                    updated: started,
                });
            }
            let status = blobs.status(&record.backend)?;
            Ok(IngestStatus {
                reference,
                offset: status.offset,
                total: status.total,
                expected: None,
                started: status.started,
                updated: status.updated,
            })
        };
        match joined(tokio::task::spawn_blocking(look).await) {
            Ok(status) => Ok(Some(status)),
            // Being opened, or just ended.
            Err(transom_content::Error::RefNotFound { .. } | transom_content::Error::NotFound { .. }) => {
                Ok(None)
            }
            Err(error) => Err(Error::Content(error)),
        }
    }

    /// Refuses a blob that has gone since an ingest was to share it: its ingest was collected.
    pub(super) async fn is_there(&self, digest: &Digest) -> Result<(), Error> {
        let (blobs, digest) = (self.blobs.clone(), digest.clone());
        joined(tokio::task::spawn_blocking(move || blobs.info(&digest)).await)?;
        Ok(())
    }

    /// Removes the bytes of an ingest that has no record any more.
    pub(crate) async fn abort_bytes(&self, backend: String) -> Result<(), Error> {
        let blobs = self.blobs.clone();
        let abort = move || match blobs.abort(&backend) {
            Err(transom_content::Error::RefNotFound { .. }) => Ok(()),
            done => done,
        };
        Ok(joined(tokio::task::spawn_blocking(abort).await)?)
    }
}

/// Puts an ingest's record, and what goes with it, into a transaction.
async fn store(
    txn: &mut crate::transaction::Txn<'_>,
    caller: &Caller,
    reference: &str,
    key: Bytes,
    record: &IngestRecord,
) -> Result<(), Error> {
    let namespace: &Namespace = &caller.namespace;
    txn.enter(namespace).await?;
    leases::lease_add(txn, caller, leases::INGESTS, reference).await?;
    txn.put(key, record);
    if !record.expected.is_empty() {
        txn.mark(key::expecter(&record.expected, namespace, reference));
    }
    txn.touch(Node::Ingest(namespace.clone(), reference.to_owned()));
    Ok(())
}

pub(super) fn already(digest: &Digest) -> Error {
    Error::AlreadyExists {
        object: format!("content {digest}"),
    }
}

pub(super) fn object(reference: &str) -> String {
    format!("reference {reference}")
}
