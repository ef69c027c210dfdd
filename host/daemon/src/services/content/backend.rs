//! Where content is: in namespaces, or all in one place for a containerd that keeps the records itself (see `flat`).

use std::sync::Arc;

use tonic::{Request, Status};
use transom_content::{Blob, Store};
use transom_meta::content::{IngestStatus, Record};
use transom_meta::filter::{Filters, Plugins};
use transom_meta::{Caller, Error, Labels, Metadata};
use transom_oci::Digest;

use super::flat::{Flat, Walking};
use super::ingest::Ingest;
use crate::convert;

/// Where content is.
#[derive(Clone, Debug)]
pub enum Backend {
    /// In namespaces.
    Whole {
        /// The records.
        metadata: Metadata,
        /// The filter plugins that a list may name.
        plugins: Plugins,
    },
    /// All in one place, without records.
    Flat(Flat),
}

/// On whose behalf.
#[derive(Clone, Debug)]
pub enum Who {
    /// A namespace's.
    Caller(Caller),
    /// Nobody's: there are no namespaces.
    Nobody,
}

/// A backend with the one on whose behalf it is asked.
#[derive(Debug)]
enum Asked<'b> {
    Whole(&'b Metadata, &'b Caller),
    Flat(&'b Flat),
}

impl Backend {
    /// Content in namespaces.
    #[must_use]
    pub fn whole(metadata: Metadata, plugins: Plugins) -> Backend {
        Backend::Whole { metadata, plugins }
    }

    /// Content in one place.
    #[must_use]
    pub fn flat(store: Store) -> Backend {
        Backend::Flat(Flat::new(store))
    }

    /// On whose behalf a request is made.
    ///
    /// # Errors
    /// As [`caller`](convert::caller), where there are namespaces.
    pub fn who<T>(&self, request: &Request<T>) -> Result<Who, Status> {
        match self {
            Backend::Whole { .. } => convert::caller(request).map(Who::Caller),
            Backend::Flat(_) => Ok(Who::Nobody),
        }
    }

    fn asked<'b>(&'b self, who: &'b Who) -> Result<Asked<'b>, Error> {
        match (self, who) {
            (Backend::Whole { metadata, .. }, Who::Caller(caller)) => Ok(Asked::Whole(metadata, caller)),
            (Backend::Flat(flat), _) => Ok(Asked::Flat(flat)),
            (Backend::Whole { .. }, Who::Nobody) => Err(Error::FailedPrecondition {
                what: "namespace is required".to_owned(),
            }),
        }
    }

    /// What is known of a blob.
    ///
    /// # Errors
    /// [`Error::NotFound`] or that of the store.
    pub async fn info(&self, who: &Who, digest: &Digest) -> Result<Record, Error> {
        match self.asked(who)? {
            Asked::Whole(metadata, caller) => metadata.content_info(caller, digest).await,
            Asked::Flat(flat) => flat.info(digest).await,
        }
    }

    /// Changes labels.
    ///
    /// # Errors
    /// Those of [`info`](Backend::info), [`Error::Immutable`], [`Error::Label`]; [`Error::FailedPrecondition`] where nothing
    /// keeps labels.
    pub async fn update(
        &self,
        who: &Who,
        digest: &Digest,
        labels: Labels,
        paths: &[String],
    ) -> Result<Record, Error> {
        match self.asked(who)? {
            Asked::Whole(metadata, caller) => metadata.content_update(caller, digest, labels, paths).await,
            Asked::Flat(_) => Err(Error::FailedPrecondition {
                what: "update not supported on immutable content store".to_owned(),
            }),
        }
    }

    /// Lists blobs.
    ///
    /// # Errors
    /// [`Error::Filter`].
    pub async fn list(&self, who: &Who, filters: Vec<String>) -> Result<Listing, Error> {
        let plugins = match self {
            Backend::Whole { plugins, .. } => plugins.clone(),
            Backend::Flat(_) => Plugins::default(),
        };
        let filters = compiled(filters, plugins).await?;
        match self.asked(who)? {
            Asked::Whole(metadata, caller) => Ok(Listing::Whole {
                filters,
                metadata: metadata.clone(),
                caller: caller.clone(),
                after: None,
                done: false,
            }),
            Asked::Flat(flat) => Ok(Listing::Flat(flat.list(filters).await?)),
        }
    }

    /// Removes a blob: of a namespace its record, otherwise its bytes.
    ///
    /// # Errors
    /// As [`info`](Backend::info).
    pub async fn delete(&self, who: &Who, digest: &Digest) -> Result<(), Error> {
        match self.asked(who)? {
            Asked::Whole(metadata, caller) => metadata.content_delete(caller, digest).await,
            Asked::Flat(flat) => flat.delete(digest).await,
        }
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// As [`info`](Backend::info).
    pub async fn reader(&self, who: &Who, digest: &Digest) -> Result<Blob, Error> {
        match self.asked(who)? {
            Asked::Whole(metadata, caller) => metadata.content_reader(caller, digest).await,
            Asked::Flat(flat) => flat.reader(digest).await,
        }
    }

    /// How far an ingest is.
    ///
    /// # Errors
    /// [`Error::NotFound`] or that of the store.
    pub async fn ingest_status(&self, who: &Who, reference: &str) -> Result<IngestStatus, Error> {
        match self.asked(who)? {
            Asked::Whole(metadata, caller) => metadata.ingest_status(caller, reference).await,
            Asked::Flat(flat) => flat.ingest_status(reference).await,
        }
    }

    /// How far the ingests are that match a filter.
    ///
    /// # Errors
    /// [`Error::Filter`].
    pub async fn ingest_statuses(&self, who: &Who, filters: &[String]) -> Result<Vec<IngestStatus>, Error> {
        match self.asked(who)? {
            Asked::Whole(metadata, caller) => metadata.ingest_statuses(caller, filters).await,
            Asked::Flat(flat) => flat.ingest_statuses(filters).await,
        }
    }

    /// Removes an ingest.
    ///
    /// # Errors
    /// As [`ingest_status`](Backend::ingest_status).
    pub async fn ingest_abort(&self, who: &Who, reference: &str) -> Result<(), Error> {
        match self.asked(who)? {
            Asked::Whole(metadata, caller) => metadata.ingest_abort(caller, reference).await,
            Asked::Flat(flat) => flat.ingest_abort(reference).await,
        }
    }

    /// Opens an ingest.
    ///
    /// # Errors
    /// That of the store; [`Error::AlreadyExists`] if `expected` is there; [`Error::NotFound`] if the caller's lease is not.
    pub async fn ingest(
        &self,
        who: &Who,
        reference: &str,
        total: Option<u64>,
        expected: Option<&Digest>,
    ) -> Result<Ingest, Error> {
        match self.asked(who)? {
            Asked::Whole(metadata, caller) => {
                let writer = metadata.ingest(caller, reference, total, expected).await?;
                Ok(Ingest::Whole(Box::new(writer)))
            }
            Asked::Flat(flat) => flat.ingest(reference, total, expected).await,
        }
    }
}

/// Plugins may take a while to read an expression.
async fn compiled(filters: Vec<String>, plugins: Plugins) -> Result<Arc<Filters>, Error> {
    let compile = move || Filters::compile(&filters, &plugins);
    Ok(Arc::new(super::unwound(
        tokio::task::spawn_blocking(compile).await,
    )?))
}

/// A list under way.
#[derive(Debug)]
pub enum Listing {
    /// Of a namespace, in the order of the digests.
    Whole {
        /// The records.
        metadata: Metadata,
        /// Whose.
        caller: Caller,
        /// What is wanted.
        filters: Arc<Filters>,
        /// The last one that was looked at.
        after: Option<Digest>,
        /// There is no next page.
        done: bool,
    },
    /// Of a whole store, in no order.
    Flat(Walking),
}

impl Listing {
    /// The next page, which may be empty; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Filter`] if a plugin fails, that of the store.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, Error> {
        match self {
            Listing::Whole { done: true, .. } => Ok(None),
            Listing::Whole {
                metadata,
                caller,
                filters,
                after,
                done,
            } => {
                let (page, last) = metadata
                    .content_list_page(caller, filters, after.as_ref())
                    .await?;
                *done = last.is_none();
                *after = last;
                Ok(Some(page))
            }
            Listing::Flat(walking) => walking.next().await,
        }
    }
}
