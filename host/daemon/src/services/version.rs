//! `containerd.services.version.v1.Version`.

use tonic::{Request, Response, Status};
use transom_api::version::VersionResponse;
use transom_api::version::version_server::{Version, VersionServer};

use super::limited;

/// Says which program this is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service;

impl Service {
    /// The service for a server.
    #[must_use]
    pub fn server(self) -> VersionServer<Service> {
        limited!(VersionServer::new(self))
    }
}

#[tonic::async_trait]
impl Version for Service {
    async fn version(&self, _: Request<()>) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(VersionResponse {
            version: format!("transom-{}", env!("CARGO_PKG_VERSION")),
            revision: option_env!("TRANSOM_REVISION").unwrap_or_default().to_owned(),
        }))
    }
}
