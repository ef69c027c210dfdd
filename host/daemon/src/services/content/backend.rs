//! Where content is: in namespaces, or all in one place for a containerd that keeps the records itself.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use tonic::{Request, Status};
use transom_content::{Blob, IngestOptions, Store, Walk};
use transom_meta::filter::{Facts, Fields, Filters, Plugins};
use transom_meta::{Caller, Error, Labels};
use transom_oci::Digest;

use super::ingest::Ingest;
use crate::limits::LIST_PAGE;

/// Where content is.
#[derive(Clone, Debug)]
pub enum Backend {
    /// One place without namespaces, records and collecting: what a containerd uses as its content store.
    Flat(Store),
}

/// On whose behalf; nobody's where there are no namespaces.
pub type Who = Option<Caller>;

/// What is known of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was made.
    pub created: SystemTime,
    /// When it was last changed.
    pub updated: SystemTime,
    /// Its labels.
    pub labels: Labels,
}

/// How far an ingest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestStatus {
    /// The client's ref.
    pub reference: String,
    /// Bytes so far.
    pub offset: u64,
    /// Bytes that there will be, if somebody said.
    pub total: Option<u64>,
    /// The blob that it shares.
    pub expected: Option<Digest>,
    /// When it was first opened.
    pub started: SystemTime,
    /// When it was last written.
    pub updated: SystemTime,
}

impl Backend {
    /// On whose behalf a request is made.
    ///
    /// # Errors
    /// As [`caller`](crate::convert::caller), where there are namespaces.
    pub fn who<T>(&self, _request: &Request<T>) -> Result<Who, Status> {
        match self {
            Backend::Flat(_) => Ok(None),
        }
    }

    /// What is known of a blob.
    ///
    /// # Errors
    /// [`Error::NotFound`] or that of the store.
    pub async fn info(&self, _who: &Who, digest: &Digest) -> Result<Info, Error> {
        match self {
            Backend::Flat(store) => {
                let digest = digest.clone();
                let found = on(store, move |store| store.info(&digest)).await?;
                Ok(flat_info(found))
            }
        }
    }

    /// Changes labels.
    ///
    /// # Errors
    /// Those of [`info`](Backend::info); [`Error::FailedPrecondition`] where nothing keeps labels.
    pub async fn update(
        &self,
        _who: &Who,
        _digest: &Digest,
        _labels: Labels,
        _paths: &[String],
    ) -> Result<Info, Error> {
        match self {
            Backend::Flat(_) => Err(Error::FailedPrecondition {
                what: "update not supported on immutable content store".to_owned(),
            }),
        }
    }

    /// Lists blobs.
    ///
    /// # Errors
    /// [`Error::Filter`].
    pub async fn list(&self, _who: &Who, filters: Vec<String>) -> Result<Listing, Error> {
        match self {
            Backend::Flat(store) => {
                let filters = Arc::new(Filters::compile(&filters, &Plugins::default())?);
                let walk = on(store, |store| store.walk()).await?;
                Ok(Listing::Flat {
                    walk: Some(Box::new(walk)),
                    filters,
                })
            }
        }
    }

    /// Removes a blob: of a namespace its record, otherwise its bytes.
    ///
    /// # Errors
    /// As [`info`](Backend::info).
    pub async fn delete(&self, _who: &Who, digest: &Digest) -> Result<(), Error> {
        match self {
            Backend::Flat(store) => {
                let digest = digest.clone();
                on(store, move |store| store.delete(&digest)).await
            }
        }
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// As [`info`](Backend::info).
    pub async fn reader(&self, _who: &Who, digest: &Digest) -> Result<Blob, Error> {
        match self {
            Backend::Flat(store) => {
                let digest = digest.clone();
                on(store, move |store| store.reader(&digest)).await
            }
        }
    }

    /// How far an ingest is.
    ///
    /// # Errors
    /// [`Error::NotFound`] or that of the store.
    pub async fn ingest_status(&self, _who: &Who, reference: &str) -> Result<IngestStatus, Error> {
        match self {
            Backend::Flat(store) => {
                let reference = reference.to_owned();
                let found = on(store, move |store| store.status(&reference)).await?;
                Ok(flat_status(found))
            }
        }
    }

    /// How far the ingests are that match a filter.
    ///
    /// # Errors
    /// [`Error::Filter`].
    pub async fn ingest_statuses(
        &self,
        _who: &Who,
        filters: Vec<String>,
    ) -> Result<Vec<IngestStatus>, Error> {
        match self {
            Backend::Flat(store) => {
                let filters = Filters::compile(&filters, &Plugins::default())?;
                let found = on(store, |store| {
                    let found = store.statuses(|_| true)?;
                    found
                        .map(|status| status.map(flat_status))
                        .collect::<Result<Vec<_>, _>>()
                });
                let mut found = found.await?;
                filters.retain(&mut found)?;
                Ok(found)
            }
        }
    }

    /// Removes an ingest.
    ///
    /// # Errors
    /// As [`ingest_status`](Backend::ingest_status).
    pub async fn ingest_abort(&self, _who: &Who, reference: &str) -> Result<(), Error> {
        match self {
            Backend::Flat(store) => {
                let reference = reference.to_owned();
                on(store, move |store| store.abort(&reference)).await
            }
        }
    }

    /// Opens an ingest.
    ///
    /// # Errors
    /// That of the store; [`Error::AlreadyExists`] if `expected` is there; [`Error::NotFound`] if the caller's lease is not.
    pub async fn ingest(
        &self,
        _who: &Who,
        reference: &str,
        total: Option<u64>,
        expected: Option<&Digest>,
    ) -> Result<Ingest, Error> {
        match self {
            Backend::Flat(store) => {
                let reference = reference.to_owned();
                let options = IngestOptions {
                    total,
                    expected: expected.cloned(),
                    ..IngestOptions::default()
                };
                let writer = on(store, move |store| store.ingest(&reference, options)).await?;
                Ok(Ingest::flat(writer))
            }
        }
    }
}

/// A list under way.
#[derive(Debug)]
pub enum Listing {
    /// Of a whole store, in no order.
    Flat {
        /// What is left; nothing once it has failed.
        walk: Option<Box<Walk>>,
        /// What is wanted.
        filters: Arc<Filters>,
    },
}

impl Listing {
    /// The next page, which may be empty; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Filter`] if a plugin fails, that of the store.
    pub async fn next(&mut self) -> Result<Option<Vec<Info>>, Error> {
        match self {
            Listing::Flat { walk, filters } => {
                let Some(mut left) = walk.take() else {
                    return Ok(None);
                };
                let filters = Arc::clone(filters);
                let read = move || {
                    let found = left.by_ref().take(LIST_PAGE);
                    let page = found
                        .map(|found| found.map(flat_info))
                        .collect::<Result<Vec<_>, _>>();
                    let mut page = page.map_err(Error::from)?;
                    let more = page.len() == LIST_PAGE;
                    filters.retain(&mut page)?;
                    Ok((page, more.then_some(left)))
                };
                let (page, left) = unwound(tokio::task::spawn_blocking(read).await)?;
                *walk = left;
                Ok(Some(page))
            }
        }
    }
}

impl Fields for Info {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["digest", ..] => Some(self.digest.to_string().into()),
            ["labels", rest @ ..] => transom_meta::filter::label(&self.labels, rest),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "content",
            digest: Some(self.digest.to_string().into()),
            size: Some(self.size),
            created: Some(self.created),
            updated: Some(self.updated),
            labels: Some(&self.labels),
            ..Facts::default()
        }
    }
}

impl Fields for IngestStatus {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["ref", ..] => Some(self.reference.as_str().into()),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "ingest",
            name: Some(self.reference.as_str().into()),
            size: Some(self.offset),
            created: Some(self.started),
            updated: Some(self.updated),
            ..Facts::default()
        }
    }
}

/// Does something with the store beside the tasks of other requests.
async fn on<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, transom_content::Error> + Send + 'static,
) -> Result<T, Error> {
    let store = store.clone();
    unwound(tokio::task::spawn_blocking(move || work(&store).map_err(Error::from)).await)
}

/// What a blocking task gave. Its panic is the request's.
pub(super) fn unwound<T>(joined: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    match joined {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Kv(transom_meta::kv::KvError::Stopped {
                reason: String::new(),
            })),
        },
    }
}

fn flat_info(info: transom_content::Info) -> Info {
    Info {
        digest: info.digest,
        size: info.size,
        created: info.created,
        updated: info.updated,
        labels: Labels::new(),
    }
}

fn flat_status(status: transom_content::Status) -> IngestStatus {
    IngestStatus {
        reference: status.reference,
        offset: status.offset,
        total: status.total,
        expected: None,
        started: status.started,
        updated: status.updated,
    }
}
