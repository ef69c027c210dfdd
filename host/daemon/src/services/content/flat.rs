//! Content in one place, without namespaces, records and collecting: what a containerd uses as its content store.

use std::sync::Arc;

use transom_content::{Blob, IngestOptions, Store, Walk};
use transom_meta::content::{IngestStatus, Record};
use transom_meta::filter::{Filters, Plugins};
use transom_meta::{Error, Labels};
use transom_oci::Digest;

use super::ingest::Ingest;
use super::unwound;
use crate::limits::LIST_PAGE;

/// A store of blobs.
#[derive(Clone, Debug)]
pub struct Flat {
    store: Store,
}

impl Flat {
    pub(super) fn new(store: Store) -> Flat {
        Flat { store }
    }

    pub(super) async fn info(&self, digest: &Digest) -> Result<Record, Error> {
        let digest = digest.clone();
        Ok(record(self.on(move |store| store.info(&digest)).await?))
    }

    pub(super) async fn list(&self, filters: Arc<Filters>) -> Result<Walking, Error> {
        let walk = self.on(Store::walk).await?;
        Ok(Walking {
            walk: Some(Box::new(walk)),
            filters,
        })
    }

    pub(super) async fn delete(&self, digest: &Digest) -> Result<(), Error> {
        let digest = digest.clone();
        self.on(move |store| store.delete(&digest)).await
    }

    pub(super) async fn reader(&self, digest: &Digest) -> Result<Blob, Error> {
        let digest = digest.clone();
        match self.store.reader_at_once(&digest) {
            Some(blob) => Ok(blob),
            None => self.on(move |store| store.reader(&digest)).await,
        }
    }

    pub(super) async fn ingest_status(&self, reference: &str) -> Result<IngestStatus, Error> {
        let asked = reference.to_owned();
        match self.on(move |store| store.status(&asked)).await {
            Ok(found) => Ok(status(found)),
            Err(Error::Content(transom_content::Error::RefNotFound { .. })) => Err(Error::NotFound {
                object: format!("could not get status for ref {reference:?}: reference {reference}"),
            }),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn ingest_statuses(&self, filters: &[String]) -> Result<Vec<IngestStatus>, Error> {
        let filters = Filters::compile(filters, &Plugins::default())?;
        let all = |store: &Store| {
            let found = store.statuses(|_| true)?;
            found
                .map(|found| found.map(status))
                .collect::<Result<Vec<_>, _>>()
        };
        let mut found = self.on(all).await?;
        filters.retain(&mut found)?;
        Ok(found)
    }

    pub(super) async fn ingest_abort(&self, reference: &str) -> Result<(), Error> {
        let reference = reference.to_owned();
        self.on(move |store| store.abort(&reference)).await
    }

    pub(super) async fn ingest(
        &self,
        reference: &str,
        total: Option<u64>,
        expected: Option<&Digest>,
    ) -> Result<Ingest, Error> {
        let reference = reference.to_owned();
        let options = IngestOptions {
            total,
            expected: expected.cloned(),
        };
        let writer = self.on(move |store| store.ingest(&reference, options)).await?;
        Ok(Ingest::Flat(Some(Box::new(writer))))
    }

    /// Does something with the store beside the tasks of other requests.
    async fn on<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, transom_content::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        Ok(unwound(tokio::task::spawn_blocking(move || work(&store)).await)?)
    }
}

/// A list under way.
#[derive(Debug)]
pub struct Walking {
    /// What is left; nothing once it has ended or failed.
    walk: Option<Box<Walk>>,
    filters: Arc<Filters>,
}

impl Walking {
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Record>>, Error> {
        let Some(mut left) = self.walk.take() else {
            return Ok(None);
        };
        let read = move || {
            let found: Result<Vec<_>, _> = left.by_ref().take(LIST_PAGE).collect();
            found.map(|found| (found, left))
        };
        let (found, left) = unwound(tokio::task::spawn_blocking(read).await)?;
        self.walk = (found.len() == LIST_PAGE).then_some(left);
        let mut page = found.into_iter().map(record).collect();
        self.filters.retain(&mut page)?;
        Ok(Some(page))
    }
}

fn record(info: transom_content::Info) -> Record {
    Record {
        digest: info.digest,
        size: info.size,
        created: info.created,
        updated: info.updated,
        labels: Labels::new(),
    }
}

pub(super) fn status(status: transom_content::Status) -> IngestStatus {
    IngestStatus {
        reference: status.reference,
        offset: status.offset,
        total: status.total,
        expected: None,
        started: status.started,
        updated: status.updated,
    }
}
