//! Content of namespaces: which blob belongs to whom, and with which labels.
//!
//! The bytes are in one content store for all namespaces; a record says that a namespace has a blob. Read in this order:
//! this file (what is known of a blob), [`ingests`] (opening, listing, aborting), [`writer`] (bytes, commit), `recorded`
//! (the transaction that makes a blob content of a namespace), `locks` (so that the collector does not remove a blob
//! on its way to its record), `view` (what filters see).

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use transom_content::Blob;
use transom_oci::Digest;

use crate::events::{Envelope, Event};
use crate::filter::Filters;
use crate::key::{self, Kind};
use crate::leases;
use crate::metadata::{joined, matching};
use crate::names::{self, Caller, Labels};
use crate::record::{ContentRecord, Time, time};
use crate::transaction::Tries;
use crate::{Error, Metadata, Node, gc};

pub mod ingests;
mod locks;
mod recorded;
mod view;
pub mod writer;

pub use ingests::IngestStatus;
pub(crate) use locks::{DigestLocks, Held};
pub use writer::Writer;

/// What is known of a namespace's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's bytes.
    pub size: u64,
    /// When this namespace got it.
    pub created: SystemTime,
    /// When its labels were last changed.
    pub updated: SystemTime,
    /// Its labels.
    pub labels: Labels,
}

impl Metadata {
    /// What is known of a blob.
    ///
    /// # Errors
    /// [`Error::NotFound`] if this namespace does not have it, whoever else does.
    pub async fn content_info(&self, caller: &Caller, digest: &Digest) -> Result<Record, Error> {
        let key = key::of(Kind::Content, &caller.namespace, digest.as_str());
        let found = self.inner.get::<ContentRecord>(&key).await?;
        found
            .map(|record| Record::read(digest.clone(), record))
            .ok_or_else(|| missing(digest))
    }

    /// Changes labels: those that `paths` name (`labels`, `labels.<key>`), or all of them if there are no paths.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Immutable`], [`Error::Label`].
    pub async fn content_update(
        &self,
        caller: &Caller,
        digest: &Digest,
        labels: Labels,
        paths: &[String],
    ) -> Result<Record, Error> {
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(digest))?;
            let mut txn = self.inner.begin().await;
            let key = key::of(Kind::Content, &caller.namespace, digest.as_str());
            let Some(mut record) = txn.get::<ContentRecord>(&key).await? else {
                return Err(missing(digest));
            };
            let before = gc::labels::references(&caller.namespace, &record.labels);
            change(&mut record.labels, &labels, paths, digest)?;
            names::labels("info.Labels", &record.labels)?;
            record.updated = Some(Time::from(SystemTime::now()));
            txn.put(key, &record);
            txn.touch(Node::Content(caller.namespace.clone(), digest.clone()));
            let after = gc::labels::references(&caller.namespace, &record.labels);
            after.iter().for_each(|node| txn.touch(node.clone()));
            if txn.commit().await? {
                let mut dropped = before;
                dropped.retain(|node| !after.contains(node));
                self.inner.end_grace(&caller.namespace, dropped).await?;
                return Ok(Record::read(digest.clone(), record));
            }
        }
    }

    /// A page of the blobs that match, in byte order of their digests, beginning after `after`; and where the next page begins,
    /// if there is one. Fields: `digest`, `labels`.
    ///
    /// # Errors
    /// [`Error::Filter`] if a plugin fails.
    pub async fn content_list_page(
        &self,
        caller: &Caller,
        filters: &Arc<Filters>,
        after: Option<&Digest>,
    ) -> Result<(Vec<Record>, Option<Digest>), Error> {
        let mut range = key::all(Kind::Content, &caller.namespace);
        if let Some(after) = after {
            range = range.after(&key::of(Kind::Content, &caller.namespace, after.as_str()));
        }
        let (page, rest) = self.inner.page::<ContentRecord>(&range).await?;
        let record = |(key, record): (Bytes, ContentRecord)| {
            let digest = key::name(&key)?.parse().ok()?;
            Some(Record::read(digest, record))
        };
        let page: Vec<Record> = page.into_iter().filter_map(record).collect();
        let next = rest.and_then(|_| page.last().map(|last| last.digest.clone()));
        Ok((matching(filters, page).await?, next))
    }

    /// Takes a blob from this namespace. Its bytes go when no namespace has it any more.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn content_delete(&self, caller: &Caller, digest: &Digest) -> Result<(), Error> {
        let mut tries = Tries::new();
        loop {
            tries.next(|| object(digest))?;
            let mut txn = self.inner.begin().await;
            let key = key::of(Kind::Content, &caller.namespace, digest.as_str());
            let Some(record) = txn.get::<ContentRecord>(&key).await? else {
                return Err(missing(digest));
            };
            txn.delete(key);
            txn.delete(key::holder(digest, &caller.namespace));
            txn.delete(key::of(Kind::Grace, &caller.namespace, digest.as_str()));
            leases::lease_remove(&mut txn, caller, leases::CONTENT, digest.as_str());
            txn.removes();
            let event = Event::ContentDelete {
                digest: digest.to_string(),
            };
            txn.publish(Envelope::now(&caller.namespace, event));
            if txn.commit().await? {
                let dropped = gc::labels::references(&caller.namespace, &record.labels);
                return self.inner.end_grace(&caller.namespace, dropped).await;
            }
        }
    }

    /// Opens a blob for reading. It can be read to its end whatever is deleted meanwhile.
    ///
    /// # Errors
    /// [`Error::NotFound`] if this namespace does not have it; [`Error::Content`].
    pub async fn content_reader(&self, caller: &Caller, digest: &Digest) -> Result<Blob, Error> {
        let key = key::of(Kind::Content, &caller.namespace, digest.as_str());
        if self.inner.kv.get(&key).await?.is_none() {
            return Err(missing(digest));
        }
        let blobs = self.inner.blobs.clone();
        // Clients that read through a small buffer open it for each.
        if let Some(blob) = blobs.reader_at_once(digest) {
            return Ok(blob);
        }
        let digest = digest.clone();
        let opened = tokio::task::spawn_blocking(move || blobs.reader(&digest));
        Ok(joined(opened.await)?)
    }
}

impl Record {
    fn read(digest: Digest, record: ContentRecord) -> Record {
        Record {
            digest,
            size: record.size,
            created: time(record.created),
            updated: time(record.updated),
            labels: record.labels,
        }
    }
}

fn change(labels: &mut Labels, new: &Labels, paths: &[String], digest: &Digest) -> Result<(), Error> {
    if paths.is_empty() {
        *labels = names::without_empty(new.clone());
    }
    for path in paths {
        if path == "labels" {
            *labels = names::without_empty(new.clone());
        } else if let Some(key) = path.strip_prefix("labels.") {
            names::set_label(labels, key, new.get(key).map(String::as_str));
        } else {
            return Err(Error::Immutable {
                field: path.clone(),
                object: format!("content info {:?}", digest.as_str()),
            });
        }
    }
    Ok(())
}

fn object(digest: &Digest) -> String {
    format!("content digest {digest}")
}

fn missing(digest: &Digest) -> Error {
    Error::NotFound {
        object: object(digest),
    }
}
