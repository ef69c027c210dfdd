//! `containerd.services.content.v1.Content`, over the metadata or straight over the blobs.
//!
//! [`backend`] is what both have in common, [`flat`] the blobs alone, [`ingest`] a writer of either, `write` the state machine of the write stream, `read`
//! and `list` the streams out.

pub mod backend;
pub mod flat;
pub mod ingest;
mod list;
mod read;
mod write;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};
use transom_api::content as api;
use transom_api::content::content_server::{Content, ContentServer};
use transom_api::lists::ListContentResponse;
use transom_diff::Ahead;
use transom_meta::content::{IngestStatus, Record};
use transom_meta::{Class, names};
use transom_oci::Digest;

use super::limited;
use crate::answers::Answers;
use crate::config::Limits;
use crate::convert::{paths, timestamp};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::status;

use backend::Backend;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

/// What the requests of one daemon share.
#[derive(Debug)]
struct Shared {
    backend: Backend,
    metrics: Metrics,
    shutdown: Shutdown,
    writers: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    ahead: Option<Ahead>,
}

impl Service {
    /// A service over a backend; with `ahead` it has layers unpacked while clients write them.
    #[must_use]
    pub fn new(
        backend: Backend,
        limits: &Limits,
        metrics: Metrics,
        shutdown: Shutdown,
        ahead: Option<Ahead>,
    ) -> Service {
        Service {
            shared: Arc::new(Shared {
                backend,
                metrics,
                shutdown,
                writers: Arc::new(Semaphore::new(limits.writers)),
                readers: Arc::new(Semaphore::new(limits.readers)),
                ahead,
            }),
        }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> ContentServer<Service> {
        limited!(ContentServer::new(self))
    }
}

/// A digest that an object must have.
fn validated(digest: &str) -> Result<Digest, Status> {
    names::digest(digest).map_err(|_| Status::invalid_argument(format!("{digest:?} failed validation")))
}

/// A digest that something is looked for by.
fn digest(digest: &str) -> Result<Digest, Status> {
    names::digest(digest).map_err(|reason| Status::invalid_argument(reason.to_string()))
}

fn info(info: Record) -> api::Info {
    api::Info {
        digest: info.digest.to_string(),
        size: length(info.size),
        created_at: timestamp(info.created),
        updated_at: timestamp(info.updated),
        labels: info.labels,
    }
}

fn ingest_status(status: IngestStatus) -> api::Status {
    api::Status {
        started_at: timestamp(status.started),
        updated_at: timestamp(status.updated),
        r#ref: status.reference,
        offset: length(status.offset),
        total: length(status.total.unwrap_or_default()),
        expected: status
            .expected
            .map(|digest| digest.to_string())
            .unwrap_or_default(),
    }
}

/// What a blocking task gave. Nothing cancels one, so that without a result it has panicked, and so does the request.
fn unwound<T>(task: Result<T, tokio::task::JoinError>) -> T {
    task.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[tonic::async_trait]
impl Content for Service {
    async fn info(&self, request: Request<api::InfoRequest>) -> Result<Response<api::InfoResponse>, Status> {
        let who = self.shared.backend.who(&request)?;
        let digest = validated(&request.get_ref().digest)?;
        let found = self
            .shared
            .backend
            .info(&who, &digest)
            .await
            .map_err(|e| status::of(&e))?;
        let info = Some(info(found));
        Ok(Response::new(api::InfoResponse { info }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateRequest>,
    ) -> Result<Response<api::UpdateResponse>, Status> {
        let who = self.shared.backend.who(&request)?;
        let request = request.into_inner();
        // A missing message is one without a digest.
        let new = request.info.unwrap_or_default();
        let digest = validated(&new.digest)?;
        let paths = paths(request.update_mask);
        let updated = self
            .shared
            .backend
            .update(&who, &digest, new.labels, &paths)
            .await;
        let info = Some(info(updated.map_err(|e| status::of(&e))?));
        Ok(Response::new(api::UpdateResponse { info }))
    }

    type ListStream = Answers<ListContentResponse>;

    async fn list(
        &self,
        request: Request<api::ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let who = self.shared.backend.who(&request)?;
        let filters = request.into_inner().filters;
        let listed = list::list(self.shared.backend.clone(), who, filters).await?;
        Ok(Response::new(listed))
    }

    async fn delete(&self, request: Request<api::DeleteContentRequest>) -> Result<Response<()>, Status> {
        let who = self.shared.backend.who(&request)?;
        let digest = digest(&request.get_ref().digest)?;
        let deleted = self.shared.backend.delete(&who, &digest).await;
        deleted.map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }

    type ReadStream = Answers<api::ReadContentResponse>;

    async fn read(
        &self,
        request: Request<api::ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let who = self.shared.backend.who(&request)?;
        let read = read::read(Arc::clone(&self.shared), who, request.into_inner()).await?;
        Ok(Response::new(read))
    }

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusResponse>, Status> {
        let who = self.shared.backend.who(&request)?;
        let reference = &request.get_ref().r#ref;
        let found = self.shared.backend.ingest_status(&who, reference).await;
        let found = found.map_err(|e| status::of(&e))?;
        let status = Some(ingest_status(found));
        Ok(Response::new(api::StatusResponse { status }))
    }

    async fn list_statuses(
        &self,
        request: Request<api::ListStatusesRequest>,
    ) -> Result<Response<api::ListStatusesResponse>, Status> {
        let who = self.shared.backend.who(&request)?;
        let found = self
            .shared
            .backend
            .ingest_statuses(&who, &request.get_ref().filters)
            .await;
        let found = found.map_err(|e| status::of(&e))?;
        let statuses = found.into_iter().map(ingest_status).collect();
        Ok(Response::new(api::ListStatusesResponse { statuses }))
    }

    type WriteStream = Answers<api::WriteContentResponse>;

    async fn write(
        &self,
        request: Request<Streaming<api::WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let who = self.shared.backend.who(&request)?;
        let Ok(place) = Arc::clone(&self.shared.writers).try_acquire_owned() else {
            // containerd's clients wait and try again when a writer is unavailable.
            let text = "too many write streams are open (`limits.writers`); try again";
            return Err(status::said(Class::Unavailable, text));
        };
        let incoming = request.into_inner();
        Ok(Response::new(write::write(
            Arc::clone(&self.shared),
            who,
            place,
            incoming,
        )))
    }

    async fn abort(&self, request: Request<api::AbortRequest>) -> Result<Response<()>, Status> {
        let who = self.shared.backend.who(&request)?;
        let aborted = self
            .shared
            .backend
            .ingest_abort(&who, &request.get_ref().r#ref)
            .await;
        aborted.map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }
}
