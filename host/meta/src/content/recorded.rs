//! The transactions at the end of an ingest: the record that makes a blob content of a namespace.

use std::time::SystemTime;

use transom_oci::Digest;

use super::ingests::{already, object};
use super::{Held, Record, Writer};
use crate::events::{Envelope, Event};
use crate::key::{self, Kind};
use crate::leases;
use crate::names::Labels;
use crate::record::{ContentRecord, GraceRecord, IngestRecord, LeaseRecord, Time};
use crate::transaction::{Tries, Txn};
use crate::{Error, Node, gc};

impl Writer {
    /// Refuses a commit for a lease that is gone, before the ingest is.
    pub(super) async fn check_lease(&self) -> Result<(), Error> {
        let Some(lease) = &self.caller.lease else {
            return Ok(());
        };
        let key = key::of(Kind::Lease, &self.caller.namespace, lease);
        match self.inner.get::<LeaseRecord>(&key).await? {
            Some(_) => Ok(()),
            None => Err(Error::NotFound {
                object: "lease does not exist".to_owned(),
            }),
        }
    }

    /// Records the blob, which is in its place, and forgets the ingest.
    pub(super) async fn record(
        &self,
        held: &Held,
        digest: Digest,
        size: u64,
        labels: Labels,
    ) -> Result<Record, Error> {
        let namespace = &self.caller.namespace;
        let key = key::of(Kind::Content, namespace, digest.as_str());
        let mut tries = Tries::new();
        loop {
            tries.next(|| format!("content {digest}"))?;
            let now = SystemTime::now();
            let mut txn = self.inner.begin().await;
            txn.holds(Held::clone(held));
            self.forget(&mut txn).await?;
            let exists = txn.has(&key).await?;
            leases::lease_add(&mut txn, &self.caller, leases::CONTENT, digest.as_str()).await?;
            txn.touch(Node::Content(namespace.clone(), digest.clone()));
            if !exists {
                txn.enter(namespace).await?;
                let record = ContentRecord {
                    labels: labels.clone(),
                    size,
                    created: Some(Time::from(now)),
                    updated: Some(Time::from(now)),
                };
                txn.put(key.clone(), &record);
                txn.mark(key::holder(&digest, namespace));
                for node in gc::labels::references(namespace, &labels) {
                    txn.touch(node);
                }
                self.give_grace(&mut txn, &digest, &labels, now);
                let event = Event::ContentCreate {
                    digest: digest.to_string(),
                    size: i64::try_from(size).unwrap_or(i64::MAX),
                };
                txn.publish(Envelope::now(namespace, event));
            }
            if !txn.commit().await? {
                continue;
            }
            if exists {
                return Err(already(&digest));
            }
            return Ok(Record {
                digest,
                size,
                created: now,
                updated: now,
                labels,
            });
        }
    }

    /// Content that no lease keeps gets some time to be referred to.
    fn give_grace(&self, txn: &mut Txn<'_>, digest: &Digest, labels: &Labels, now: SystemTime) {
        let grace = self.inner.options.grace;
        if self.caller.lease.is_some() || labels.contains_key(gc::labels::ROOT) || grace.is_zero() {
            return;
        }
        let until = now.checked_add(grace).map(Time::from);
        let key = key::of(Kind::Grace, &self.caller.namespace, digest.as_str());
        txn.put(key, &GraceRecord { until });
    }

    /// Removes the record of this ingest, unless the ref belongs to another by now.
    async fn forget(&self, txn: &mut Txn<'_>) -> Result<(), Error> {
        let namespace = &self.caller.namespace;
        let key = key::of(Kind::Ingest, namespace, &self.reference);
        let Some(record) = txn.get::<IngestRecord>(&key).await? else {
            return Ok(());
        };
        if record.backend != self.backend {
            return Ok(());
        }
        txn.delete(key);
        if !record.expected.is_empty() {
            txn.delete(key::expecter(&record.expected, namespace, &self.reference));
        }
        leases::lease_remove(txn, &self.caller, leases::INGESTS, &self.reference);
        Ok(())
    }

    /// The ingest has bytes of its own now.
    pub(super) async fn no_longer_shared(&self, digest: &Digest) -> Result<(), Error> {
        let change = |record: &mut IngestRecord| record.expected.clear();
        let expecter = key::expecter(digest.as_str(), &self.caller.namespace, &self.reference);
        self.change(change, |txn| txn.delete(expecter.clone())).await
    }

    /// Makes the ingest's record durable.
    pub(super) async fn keep(&self) -> Result<(), Error> {
        self.change(|_| {}, |_| {}).await
    }

    async fn change(
        &self,
        change: impl Fn(&mut IngestRecord),
        also: impl Fn(&mut Txn<'_>),
    ) -> Result<(), Error> {
        let key = key::of(Kind::Ingest, &self.caller.namespace, &self.reference);
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(&self.reference))?;
            let mut txn = self.inner.begin().await;
            let Some(mut record) = txn.get::<IngestRecord>(&key).await? else {
                return Ok(());
            };
            if record.backend != self.backend {
                return Ok(());
            }
            change(&mut record);
            txn.put(key.clone(), &record);
            also(&mut txn);
            if txn.commit().await? {
                return Ok(());
            }
        }
    }
}
