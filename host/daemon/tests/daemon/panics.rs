//! A request that fails inside the daemon fails alone, and says so.

use tonic::{Code, Request, Response, Status};
use transom_api::health::health_client::HealthClient;
use transom_api::health::health_server::{Health, HealthServer};
use transom_api::health::{HealthCheckRequest, HealthCheckResponse};
use transomd::answers::{Answers, answers, send};
use transomd::metrics::Metrics;
use transomd::rpc::{Builder, Services};

use crate::rig::refused;

/// Panics when it is asked for `panic`.
struct Fragile;

#[tonic::async_trait]
impl Health for Fragile {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        assert_ne!(request.get_ref().service, "panic", "as it was asked for");
        Ok(Response::new(HealthCheckResponse::default()))
    }

    type WatchStream = Answers<HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        Ok(Response::new(answers(1, |sink| async move {
            send(&sink, HealthCheckResponse::default()).await;
            assert_ne!(service, "panic", "as it was asked for");
            Ok(())
        })))
    }
}

fn services(metrics: &Metrics) -> Services {
    let builder = Builder::default().service(HealthServer::new(Fragile));
    builder.build(metrics.clone(), transomd::traces::Traces::default())
}

fn asking(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn one_answer() {
    let metrics = Metrics::default();
    let mut client = HealthClient::new(services(&metrics));
    let (code, text) = refused(client.check(asking("panic")).await);
    assert_eq!(code, Code::Internal);
    assert!(text.contains("failed inside the daemon"), "{text}");
    client
        .check(asking(""))
        .await
        .expect("the next request is answered");
    let counted = metrics.text().expect("text");
    let line = "transom_rpc_total{method=\"grpc.health.v1.Health/Check\",code=\"INTERNAL\"} 1";
    assert!(counted.contains(line), "{counted}");
}

#[tokio::test]
async fn in_the_middle_of_a_stream() {
    let mut client = HealthClient::new(services(&Metrics::default()));
    let mut stream = client
        .watch(asking("panic"))
        .await
        .expect("it begins")
        .into_inner();
    stream.message().await.expect("whole").expect("a first answer");
    assert_eq!(
        refused(stream.message().await).0,
        Code::Internal,
        "and no good end"
    );
    let mut stream = client.watch(asking("")).await.expect("it begins").into_inner();
    stream.message().await.expect("whole").expect("a first answer");
    assert_eq!(stream.message().await.expect("a good end"), None);
}
