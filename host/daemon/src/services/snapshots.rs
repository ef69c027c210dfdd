//! `containerd.services.snapshots.v1.Snapshots`, over the metadata or straight over the snapshotters.
//!
//! [`backend`] is what both have in common, [`seals`] what must be asked before a snapshot of an encrypted image is handed out, `list`
//! the stream out.
//!
//! containerd answers a list with a bad filter, or without a namespace, with UNKNOWN, because it forgets to map these errors. Here they
//! have their codes, as everywhere else.

pub mod backend;
mod list;
pub mod seals;

use tonic::{Request, Response, Status};
use transom_api::snapshots as api;
use transom_api::snapshots::snapshots_server::{Snapshots, SnapshotsServer};
use transom_meta::snapshots::{Info, Kind};
use transom_meta::{Class, Labels};

use super::limited;
use crate::answers::Answers;
use crate::convert::{mounts, paths, timestamp};
use crate::status;

use backend::{Asked, Backend};
use seals::Seals;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    backend: Backend,
    seals: Option<Seals>,
}

impl Service {
    /// A service over a backend.
    #[must_use]
    pub fn new(backend: Backend) -> Service {
        Service { backend, seals: None }
    }

    /// Asks before a snapshot of an encrypted image is handed out.
    #[must_use]
    pub fn asking(mut self, seals: Seals) -> Service {
        self.seals = Some(seals);
        self
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> SnapshotsServer<Service> {
        limited!(SnapshotsServer::new(self))
    }

    /// Whether a snapshot may be handed out to whoever sends these labels.
    async fn may_have(&self, asked: &Asked, labels: &Labels, snapshot: &str) -> Result<(), Status> {
        match (&self.seals, asked) {
            (Some(seals), Asked::Whole { caller, .. }) => seals.ask(caller, labels, snapshot).await,
            _ => Ok(()),
        }
    }
}

fn message(info: Info) -> api::Info {
    let kind = match info.kind {
        Kind::View => api::Kind::View,
        Kind::Active => api::Kind::Active,
        Kind::Committed => api::Kind::Committed,
    };
    api::Info {
        name: info.name,
        parent: info.parent,
        kind: kind.into(),
        created_at: timestamp(info.created),
        updated_at: timestamp(info.updated),
        labels: info.labels,
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[tonic::async_trait]
impl Snapshots for Service {
    async fn prepare(
        &self,
        request: Request<api::PrepareSnapshotRequest>,
    ) -> Result<Response<api::PrepareSnapshotResponse>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        let api::PrepareSnapshotRequest {
            key, parent, labels, ..
        } = request.into_inner();
        self.may_have(&asked, &labels, &parent).await?;
        let made = asked.prepare(&key, &parent, labels.clone()).await;
        let is_there = made.as_ref().is_err_and(|e| e.class() == Class::AlreadyExists);
        if let Some(there) = labels.get(seals::REF).filter(|_| is_there) {
            // To the client this says that its layer is unpacked.
            self.may_have(&asked, &labels, there).await?;
        }
        let mounts = mounts(made.map_err(|e| status::of(&e))?);
        Ok(Response::new(api::PrepareSnapshotResponse { mounts }))
    }

    async fn view(
        &self,
        request: Request<api::ViewSnapshotRequest>,
    ) -> Result<Response<api::ViewSnapshotResponse>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        let api::ViewSnapshotRequest {
            key, parent, labels, ..
        } = request.into_inner();
        self.may_have(&asked, &labels, &parent).await?;
        let made = asked.view(&key, &parent, labels).await;
        let mounts = mounts(made.map_err(|e| status::of(&e))?);
        Ok(Response::new(api::ViewSnapshotResponse { mounts }))
    }

    async fn mounts(
        &self,
        request: Request<api::MountsRequest>,
    ) -> Result<Response<api::MountsResponse>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        let found = asked.mounts(&request.get_ref().key).await;
        let mounts = mounts(found.map_err(|e| status::of(&e))?);
        Ok(Response::new(api::MountsResponse { mounts }))
    }

    async fn commit(&self, request: Request<api::CommitSnapshotRequest>) -> Result<Response<()>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        let request = request.into_inner();
        let done = asked.commit(&request.name, &request.key, &request.parent, request.labels);
        done.await.map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }

    async fn remove(&self, request: Request<api::RemoveSnapshotRequest>) -> Result<Response<()>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        let removed = asked.remove(&request.get_ref().key).await;
        removed.map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }

    async fn stat(
        &self,
        request: Request<api::StatSnapshotRequest>,
    ) -> Result<Response<api::StatSnapshotResponse>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        let found = asked.stat(&request.get_ref().key).await;
        let info = Some(message(found.map_err(|e| status::of(&e))?));
        Ok(Response::new(api::StatSnapshotResponse { info }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateSnapshotRequest>,
    ) -> Result<Response<api::UpdateSnapshotResponse>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        let request = request.into_inner();
        let info = request.info.ok_or_else(|| status::missing("info"))?;
        let paths = paths(request.update_mask);
        let updated = asked.update(&info.name, info.labels, &paths).await;
        let info = Some(message(updated.map_err(|e| status::of(&e))?));
        Ok(Response::new(api::UpdateSnapshotResponse { info }))
    }

    type ListStream = Answers<api::ListSnapshotsResponse>;

    async fn list(
        &self,
        request: Request<api::ListSnapshotsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        let listed = list::list(asked, request.into_inner().filters).await?;
        Ok(Response::new(listed))
    }

    async fn usage(
        &self,
        request: Request<api::UsageRequest>,
    ) -> Result<Response<api::UsageResponse>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        let found = asked.usage(&request.get_ref().key).await;
        let usage = found.map_err(|e| status::of(&e))?;
        Ok(Response::new(api::UsageResponse {
            size: number(usage.size),
            inodes: number(usage.inodes),
        }))
    }

    async fn cleanup(&self, request: Request<api::CleanupRequest>) -> Result<Response<()>, Status> {
        let asked = self.backend.asked(&request, &request.get_ref().snapshotter)?;
        asked.cleanup().await.map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }
}
