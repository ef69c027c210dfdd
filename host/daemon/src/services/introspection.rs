//! `containerd.services.introspection.v1.Introspection`.

use std::borrow::Cow;
use std::sync::Arc;

use tonic::{Request, Response, Status};
use transom_api::introspection::introspection_server::{Introspection, IntrospectionServer};
use transom_api::introspection::{
    PluginInfoRequest, PluginInfoResponse, PluginsRequest, PluginsResponse, ServerResponse,
};
use transom_meta::filter::{Facts, Fields, Filters};
use transom_meta::{Class, Error};

use super::limited;
use crate::identity::Identity;
use crate::parts::Part;
use crate::plugins::set::Shelf;
use crate::status;

/// Lists the parts of the daemon.
#[derive(Clone, Debug)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    identity: Identity,
    parts: Vec<Part>,
    shelf: Shelf,
}

impl Service {
    /// A service that lists `parts` and the plugins of a shelf; filters may name those.
    #[must_use]
    pub fn new(identity: Identity, parts: Vec<Part>, shelf: Shelf) -> Service {
        Service {
            inner: Arc::new(Inner {
                identity,
                parts,
                shelf,
            }),
        }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> IntrospectionServer<Service> {
        limited!(IntrospectionServer::new(self))
    }
}

impl Inner {
    /// What the daemon is made of now.
    fn all(&self) -> Vec<Part> {
        let mut parts = self.parts.clone();
        parts.extend(self.shelf.now().parts());
        parts
    }

    fn matching(&self, filters: &[String]) -> Result<Vec<Part>, Error> {
        let filters = Filters::compile(filters, &self.shelf.filters())?;
        let mut parts = self.all();
        filters.retain(&mut parts)?;
        Ok(parts)
    }
}

impl Fields for Part {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        let value = match *path.first()? {
            "type" => &self.plugin().r#type,
            "id" => &self.plugin().id,
            _ => return None,
        };
        Some(value.as_str().into()).filter(|value: &Cow<'_, str>| !value.is_empty())
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "plugin",
            name: Some(self.plugin().id.as_str().into()),
            ..Facts::default()
        }
    }
}

#[tonic::async_trait]
impl Introspection for Service {
    async fn plugins(&self, request: Request<PluginsRequest>) -> Result<Response<PluginsResponse>, Status> {
        let filters = request.into_inner().filters;
        let inner = Arc::clone(&self.inner);
        let parts = super::blocking(move || inner.matching(&filters)).await?;
        let parts = parts.map_err(|e| status::of(&e))?;
        let plugins = parts.into_iter().map(Part::into_plugin).collect();
        Ok(Response::new(PluginsResponse { plugins }))
    }

    async fn server(&self, _: Request<()>) -> Result<Response<ServerResponse>, Status> {
        let identity = &self.inner.identity;
        Ok(Response::new(ServerResponse {
            uuid: identity.uuid.clone(),
            pid: identity.pid.into(),
            pidns: identity.pid_namespace,
            deprecations: Vec::new(),
        }))
    }

    async fn plugin_info(
        &self,
        request: Request<PluginInfoRequest>,
    ) -> Result<Response<PluginInfoResponse>, Status> {
        let PluginInfoRequest { r#type, id, .. } = request.into_inner();
        let mut plugins = self.inner.all().into_iter().map(Part::into_plugin);
        let Some(plugin) = plugins.find(|plugin| plugin.r#type == r#type && plugin.id == id) else {
            return Err(status::said(Class::NotFound, format!("plugin {type}.{id}")));
        };
        Ok(Response::new(PluginInfoResponse {
            plugin: Some(plugin),
            extra: None,
        }))
    }
}
