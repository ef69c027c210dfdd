//! `containerd.services.leases.v1.Leases`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use transom_api::leases as api;
use transom_api::leases::leases_server::{Leases, LeasesServer};
use transom_meta::Metadata;
use transom_meta::gc::Scheduler;
use transom_meta::leases::Lease;

use super::limited;
use crate::convert::timestamp;
use crate::headers::namespace;
use crate::status;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    metadata: Metadata,
    collector: Arc<Scheduler>,
}

impl Service {
    /// A service over `metadata`; `collector` removes what a deletion leaves, for those who wait for it.
    #[must_use]
    pub fn new(metadata: Metadata, collector: Arc<Scheduler>) -> Service {
        Service { metadata, collector }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> LeasesServer<Service> {
        limited!(LeasesServer::new(self))
    }
}

fn message(lease: Lease) -> api::Lease {
    api::Lease {
        id: lease.id,
        created_at: timestamp(lease.created),
        labels: lease.labels,
    }
}

#[tonic::async_trait]
impl Leases for Service {
    async fn create(
        &self,
        request: Request<api::CreateRequest>,
    ) -> Result<Response<api::CreateResponse>, Status> {
        let namespace = namespace(request.metadata())?;
        let request = request.into_inner();
        let created = self
            .metadata
            .create_lease(&namespace, &request.id, request.labels)
            .await;
        let lease = Some(message(created.map_err(|e| status::of(&e))?));
        Ok(Response::new(api::CreateResponse { lease }))
    }

    async fn delete(&self, request: Request<api::DeleteRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(request.metadata())?;
        let request = request.into_inner();
        self.metadata
            .delete_lease(&namespace, &request.id)
            .await
            .map_err(|e| status::of(&e))?;
        if request.sync {
            self.collector.collect().await.map_err(|e| status::of(&e))?;
        }
        Ok(Response::new(()))
    }

    async fn list(&self, request: Request<api::ListRequest>) -> Result<Response<api::ListResponse>, Status> {
        let namespace = namespace(request.metadata())?;
        let leases = self.metadata.leases(&namespace, &request.get_ref().filters).await;
        let leases = leases
            .map_err(|e| status::of(&e))?
            .into_iter()
            .map(message)
            .collect();
        Ok(Response::new(api::ListResponse { leases }))
    }

    async fn add_resource(&self, request: Request<api::AddResourceRequest>) -> Result<Response<()>, Status> {
        let namespace = namespace(request.metadata())?;
        let request = request.into_inner();
        let resource = request.resource.ok_or_else(|| status::missing("resource"))?;
        let metadata = &self.metadata;
        let added = metadata
            .add_resource(&namespace, &request.id, &resource.r#type, &resource.id)
            .await;
        added.map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }

    async fn delete_resource(
        &self,
        request: Request<api::DeleteResourceRequest>,
    ) -> Result<Response<()>, Status> {
        let namespace = namespace(request.metadata())?;
        let request = request.into_inner();
        let resource = request.resource.ok_or_else(|| status::missing("resource"))?;
        let metadata = &self.metadata;
        let deleted = metadata
            .delete_resource(&namespace, &request.id, &resource.r#type, &resource.id)
            .await;
        deleted.map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }

    async fn list_resources(
        &self,
        request: Request<api::ListResourcesRequest>,
    ) -> Result<Response<api::ListResourcesResponse>, Status> {
        let namespace = namespace(request.metadata())?;
        let found = self
            .metadata
            .resources(&namespace, &request.get_ref().id)
            .await
            .map_err(|e| status::of(&e))?;
        let resources = found.into_iter().map(|resource| api::Resource {
            id: resource.id,
            r#type: resource.kind,
        });
        Ok(Response::new(api::ListResourcesResponse {
            resources: resources.collect(),
        }))
    }
}
