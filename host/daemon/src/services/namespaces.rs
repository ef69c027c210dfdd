//! `containerd.services.namespaces.v1.Namespaces`.

use tonic::{Request, Response, Status};
use transom_api::namespaces as api;
use transom_api::namespaces::namespaces_server::{Namespaces, NamespacesServer};
use transom_meta::{Metadata, Namespace};

use super::limited;
use crate::convert::paths;
use crate::status;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    metadata: Metadata,
}

impl Service {
    /// A service over `metadata`.
    #[must_use]
    pub fn new(metadata: Metadata) -> Service {
        Service { metadata }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> NamespacesServer<Service> {
        limited!(NamespacesServer::new(self))
    }
}

fn named(name: &str) -> Result<Namespace, Status> {
    Namespace::new(name).map_err(|e| status::of(&e))
}

#[tonic::async_trait]
impl Namespaces for Service {
    async fn get(
        &self,
        request: Request<api::GetNamespaceRequest>,
    ) -> Result<Response<api::GetNamespaceResponse>, Status> {
        let name = request.into_inner().name;
        let labels = self
            .metadata
            .namespace_labels(&named(&name)?)
            .await
            .map_err(|e| status::of(&e))?;
        let namespace = Some(api::Namespace { name, labels });
        Ok(Response::new(api::GetNamespaceResponse { namespace }))
    }

    async fn list(
        &self,
        _: Request<api::ListNamespacesRequest>,
    ) -> Result<Response<api::ListNamespacesResponse>, Status> {
        let found = self.metadata.namespaces().await.map_err(|e| status::of(&e))?;
        let message = |(name, labels): (Namespace, _)| api::Namespace {
            name: name.to_string(),
            labels,
        };
        Ok(Response::new(api::ListNamespacesResponse {
            namespaces: found.into_iter().map(message).collect(),
        }))
    }

    async fn create(
        &self,
        request: Request<api::CreateNamespaceRequest>,
    ) -> Result<Response<api::CreateNamespaceResponse>, Status> {
        let message = request.into_inner().namespace;
        let message = message.ok_or_else(|| status::missing("namespace"))?;
        let name = named(&message.name)?;
        let labels = message.labels.clone();
        self.metadata
            .create_namespace(&name, labels)
            .await
            .map_err(|e| status::of(&e))?;
        Ok(Response::new(api::CreateNamespaceResponse {
            namespace: Some(message),
        }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateNamespaceRequest>,
    ) -> Result<Response<api::UpdateNamespaceResponse>, Status> {
        let request = request.into_inner();
        let message = request.namespace.ok_or_else(|| status::missing("namespace"))?;
        let paths = paths(request.update_mask);
        let name = named(&message.name)?;
        let updated = self
            .metadata
            .update_namespace(&name, message.labels, &paths)
            .await;
        updated.map_err(|e| status::of(&e))?;
        // containerd never fills it, and its clients do not read it.
        Ok(Response::new(api::UpdateNamespaceResponse { namespace: None }))
    }

    async fn delete(&self, request: Request<api::DeleteNamespaceRequest>) -> Result<Response<()>, Status> {
        let name = named(&request.get_ref().name)?;
        self.metadata
            .delete_namespace(&name)
            .await
            .map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }
}
