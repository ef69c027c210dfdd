//! `grpc.health.v1.Health`.

use tonic::{Request, Response, Status};
use transom_api::health::health_check_response::ServingStatus;
use transom_api::health::health_server::{Health, HealthServer};
use transom_api::health::{HealthCheckRequest, HealthCheckResponse};

use super::{limited, methods};
use crate::answers::{Answers, answers, send};
use crate::shutdown::Shutdown;

/// Says that the daemon serves, until it stops.
#[derive(Clone, Debug)]
pub struct Service {
    shutdown: Shutdown,
}

impl Service {
    /// A service that looks at `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Service {
        Service { shutdown }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> HealthServer<Service> {
        limited!(HealthServer::new(self))
    }

    fn status(&self, service: &str) -> ServingStatus {
        if !is_known(service) {
            ServingStatus::ServiceUnknown
        } else if self.shutdown.has_begun() {
            ServingStatus::NotServing
        } else {
            ServingStatus::Serving
        }
    }
}

/// The empty name is the whole server.
fn is_known(service: &str) -> bool {
    let of_service = |path: &String| path.trim_start_matches('/').split('/').next() == Some(service);
    service.is_empty() || methods().keys().any(of_service)
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for Service {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.status(&request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
            status => Ok(Response::new(response(status))),
        }
    }

    type WatchStream = Answers<HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let health = self.clone();
        let service = request.into_inner().service;
        let stream = answers(1, |sink| async move {
            if send(&sink, response(health.status(&service))).await {
                tokio::select! {
                    () = sink.closed() => return Ok(()),
                    () = health.shutdown.begun() => {}
                }
                send(&sink, response(health.status(&service))).await;
            }
            Ok(())
        });
        Ok(Response::new(stream))
    }
}
