//! What a collector of OpenTelemetry gets.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use tokio::net::{TcpListener, TcpSocket};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use transom_api::images::ListImagesRequest;
use transom_api::images::images_client::ImagesClient;
use transom_api::version::version_client::VersionClient;
use transomd::config::Config;

use crate::rig::{Rig, here, refused};

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    got: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.got.lock().expect("no panic").push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts it, and gives its address.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = TraceServiceServer::new(self.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        format!("http://{address}")
    }

    /// All spans of one daemon, by their beginning.
    fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().expect("no panic");
        let resources = got.iter().flat_map(|request| &request.resource_spans);
        let mut spans = Vec::new();
        for of in resources {
            let resource = of.resource.as_ref().expect("who sends it");
            assert_eq!(text(&resource.attributes, "service.name"), "transomd");
            assert!(!text(&resource.attributes, "service.instance.id").is_empty());
            spans.extend(of.scope_spans.iter().flat_map(|scope| scope.spans.clone()));
        }
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

fn code(span: &Span) -> i64 {
    match value(&span.attributes, "rpc.grpc.status_code") {
        Some(Value::IntValue(code)) => *code,
        other => panic!("{other:?} is no code"),
    }
}

fn sent_to(endpoint: &str) -> impl FnOnce(&mut Config) {
    let endpoint = endpoint.parse().expect("an address");
    |config| config.traces.endpoint = Some(endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_a_span_in_its_clients_trace() {
    let collector = Collector::default();
    let rig = Rig::with(sent_to(&collector.start().await)).await;
    let mut request = Request::new(());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let parent = parent.parse().expect("a value");
    request.metadata_mut().insert("traceparent", parent);
    let mut version = VersionClient::new(rig.channel.clone());
    version.version(request).await.expect("an answer");
    let mut images = ImagesClient::new(rig.channel.clone());
    refused(images.list(Request::new(ListImagesRequest::default())).await);
    let mut unknown = tonic::client::Grpc::new(rig.channel.clone());
    unknown.ready().await.expect("connected");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = http::uri::PathAndQuery::from_static("/no.such.Service/Method");
    refused(unknown.unary(Request::new(()), path, codec).await);
    rig.stop().await;

    let spans = collector.spans();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "containerd.services.version.v1.Version/Version",
            "containerd.services.images.v1.Images/List",
            "other"
        ]
    );
    let codes: Vec<i64> = spans.iter().map(code).collect();
    assert_eq!(codes, [0, 9, 12]);
    for span in &spans {
        assert_eq!(span.kind(), SpanKind::Server);
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    }
    assert_eq!(
        text(&spans[1].attributes, "rpc.service"),
        "containerd.services.images.v1.Images"
    );
    assert_eq!(text(&spans[1].attributes, "rpc.method"), "List");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&spans[0].trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&spans[0].parent_span_id), "b7ad6b7169203331");
    assert_eq!(spans[1].parent_span_id, b"", "a trace of its own");
    let failed = |span: &Span| {
        span.status
            .as_ref()
            .is_some_and(|status| status.code() == StatusCode::Error)
    };
    assert!(!failed(&spans[1]), "it is the client's mistake");
    assert!(failed(&spans[2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_traces_is_sent() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let rig = Rig::with(|config| {
        sent_to(&endpoint)(config);
        config.traces.share = 0.0;
    })
    .await;
    let mut images = ImagesClient::new(rig.channel.clone());
    let listed = images.list(here(ListImagesRequest::default())).await;
    listed.expect("an answer");
    let mut chosen = here(ListImagesRequest::default());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    chosen
        .metadata_mut()
        .insert("traceparent", parent.parse().expect("a value"));
    images.list(chosen).await.expect("an answer");
    rig.stop().await;
    assert_eq!(collector.spans().len(), 1, "the one that its client has chosen");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_collector_the_daemon_works_and_stops() {
    // Nobody listens there, and nobody else can.
    let port = TcpSocket::new_v4().expect("a socket");
    port.bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port");
    let endpoint = format!("http://{}", port.local_addr().expect("an address"));
    let rig = Rig::with(sent_to(&endpoint)).await;
    let mut images = ImagesClient::new(rig.channel.clone());
    let listed = images.list(here(ListImagesRequest::default())).await;
    listed.expect("an answer");
    rig.stop().await;
}
