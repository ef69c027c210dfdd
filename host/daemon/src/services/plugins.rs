//! `transom.plugins.v1.Plugins`. Its messages are made in `plugins/messages`.

mod messages;

use tonic::{Request, Response, Status};
use transom_api::plugins as api;
use transom_api::plugins::plugins_server::{Plugins, PluginsServer};
use transom_meta::Class;
use transom_oci::Digest;

use super::limited;
use crate::answers::lost;
use crate::plugins::view::View;
use crate::plugins::{Changed, Live, Trouble};
use crate::status;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    live: Live,
}

impl Service {
    /// A service over the plugins of a daemon.
    #[must_use]
    pub fn new(live: Live) -> Service {
        Service { live }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> PluginsServer<Service> {
        limited!(PluginsServer::new(self))
    }

    /// The plugins of a name, or all.
    fn views(&self, name: &str) -> Result<Vec<View>, Status> {
        let mut views = self.live.views();
        if !name.is_empty() {
            views.retain(|view| view.name == name);
            if views.is_empty() {
                return Err(status::said(Class::NotFound, format!("plugin {name:?}")));
            }
        }
        Ok(views)
    }

    /// Makes a change to its end, also if whoever wanted it has gone: half of one would be worse than either.
    async fn to_the_end<T, F>(&self, change: impl FnOnce(Live) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        let done = tokio::spawn(change(self.live.clone())).await.map_err(lost)?;
        done.map_err(|trouble| status::said(trouble.class(), trouble.to_string()))
    }
}

fn digest(field: &'static str, text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|_| {
        let trouble = Trouble::Digest {
            field,
            text: text.chars().take(200).collect(),
        };
        status::said(trouble.class(), trouble.to_string())
    })
}

#[tonic::async_trait]
impl Plugins for Service {
    async fn list(&self, _: Request<api::ListRequest>) -> Result<Response<api::ListResponse>, Status> {
        let views = self.live.views();
        let plugins = views.iter().map(messages::plugin).collect();
        Ok(Response::new(api::ListResponse { plugins }))
    }

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusResponse>, Status> {
        let views = self.views(&request.into_inner().name)?;
        let plugins = views.iter().map(messages::status).collect();
        Ok(Response::new(api::StatusResponse { plugins }))
    }

    async fn install(
        &self,
        request: Request<api::InstallRequest>,
    ) -> Result<Response<api::InstallResponse>, Status> {
        let api::InstallRequest {
            manifest,
            source,
            signatures,
        } = request.into_inner();
        let manifest = digest("manifest", &manifest)?;
        let signatures = signatures.iter().map(|text| digest("signatures", text));
        let signatures = signatures.collect::<Result<Vec<_>, _>>()?;
        let done = self.to_the_end(|live| async move { live.install(&manifest, &source, &signatures).await });
        let Changed { plugin, replaced } = done.await?;
        Ok(Response::new(api::InstallResponse {
            plugin: Some(messages::plugin(&plugin)),
            replaced: replaced.as_ref().map(messages::version),
        }))
    }

    async fn remove(
        &self,
        request: Request<api::RemoveRequest>,
    ) -> Result<Response<api::RemoveResponse>, Status> {
        let name = request.into_inner().name;
        let done = self.to_the_end(|live| async move { live.remove(&name).await });
        let plugin = Some(messages::plugin(&done.await?.plugin));
        Ok(Response::new(api::RemoveResponse { plugin }))
    }

    async fn rollback(
        &self,
        request: Request<api::RollbackRequest>,
    ) -> Result<Response<api::RollbackResponse>, Status> {
        let name = request.into_inner().name;
        let done = self.to_the_end(|live| async move { live.roll_back(&name).await });
        let Changed { plugin, replaced } = done.await?;
        Ok(Response::new(api::RollbackResponse {
            plugin: Some(messages::plugin(&plugin)),
            replaced: replaced.as_ref().map(messages::version),
        }))
    }

    async fn reload(&self, _: Request<api::ReloadRequest>) -> Result<Response<api::ReloadResponse>, Status> {
        let reloaded = self.to_the_end(|live| async move { live.reload().await }).await?;
        Ok(Response::new(api::ReloadResponse {
            changed: reloaded.changed,
            restart: reloaded.restart,
            problems: reloaded.problems,
        }))
    }

    async fn grants(
        &self,
        request: Request<api::GrantsRequest>,
    ) -> Result<Response<api::GrantsResponse>, Status> {
        let views = self.views(&request.into_inner().name)?;
        let working = views.iter().filter_map(|view| view.entry.as_ref());
        let plugins = working.map(|entry| messages::grants(&entry.used, self.live.grants(&entry.used)));
        Ok(Response::new(api::GrantsResponse {
            plugins: plugins.collect(),
        }))
    }
}
