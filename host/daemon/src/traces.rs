//! Traces for OpenTelemetry: one span for each request, sent to a collector if the configuration names one. A request
//! with `traceparent` among its headers goes on with its client's trace.

use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanKind, Status, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use tonic::Code;
use tonic::transport::Endpoint;

use crate::config;
use crate::metrics::code_name;
use crate::{Failure, limits};

/// What the daemon calls itself to collectors.
const NAME: &str = "transomd";

/// Where spans go; nowhere by default. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// What is known of a request when it begins.
#[derive(Clone, Copy, Debug)]
pub struct Began<'r> {
    /// Its number in the log.
    pub id: u64,
    /// `<service>/<method>` if there is such a one.
    pub method: &'static str,
    /// Its headers.
    pub headers: &'r HeaderMap,
}

impl Traces {
    /// To the collector that the configuration names. It is connected to when there is something to send, and need not be
    /// there. `instance` tells this daemon from others. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Failure::Traces`].
    pub fn new(settings: &config::Traces, instance: &str) -> Result<Traces, Failure> {
        let Some(address) = &settings.endpoint else {
            return Ok(Traces::default());
        };
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| Failure::Traces {
            endpoint: address.to_string(),
            source,
        };
        let endpoint = Endpoint::from_shared(address.to_string()).map_err(|error| fail(error.into()))?;
        let channel = endpoint.timeout(limits::TRACES_PATIENCE).connect_lazy();
        let exporter = SpanExporter::builder().with_tonic().with_channel(channel).build();
        let exporter = exporter.map_err(|error| fail(error.into()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(limits::TRACES_QUEUE)
            .with_scheduled_delay(limits::TRACES_DELAY)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches);
        let share = Sampler::TraceIdRatioBased(settings.share);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(batches.build())
            .with_sampler(Sampler::ParentBased(Box::new(share)))
            .with_resource(resource(instance))
            .build();
        let tracer = provider.tracer(NAME);
        Ok(Traces {
            inner: Some(Arc::new(Inner { provider, tracer })),
        })
    }

    /// A request has begun. `None` if spans go nowhere.
    #[must_use]
    pub fn begin(&self, began: &Began<'_>) -> Option<Trace> {
        let inner = self.inner.as_ref()?;
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(began.headers));
        let (service, method) = began.method.split_once('/').unwrap_or(("", began.method));
        let attributes = vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service),
            KeyValue::new("rpc.method", method),
            KeyValue::new("transom.request.id", i64::try_from(began.id).unwrap_or(i64::MAX)),
        ];
        let builder = inner
            .tracer
            .span_builder(began.method)
            .with_kind(SpanKind::Server)
            .with_attributes(attributes);
        Some(Trace {
            span: inner.tracer.build_with_context(builder, &parent),
        })
    }

    /// Sends what is left. This waits for the collector, but not for long.
    pub fn end(&self) {
        let Some(inner) = &self.inner else { return };
        if let Err(error) = inner.provider.shutdown_with_timeout(limits::TRACES_PATIENCE) {
            tracing::warn!(%error, "not all traces could be sent");
        }
    }
}

fn resource(instance: &str) -> Resource {
    Resource::builder_empty()
        .with_service_name(NAME)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_owned()),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build()
}

/// The span of a request. It ends when this is dropped.
#[derive(Debug)]
pub struct Trace {
    span: opentelemetry_sdk::trace::Span,
}

impl Trace {
    /// The request's code, before it ends. What is the client's mistake is no error of the daemon's.
    pub fn code(&mut self, code: Code) {
        let number = i64::from(i32::from(code));
        self.span
            .set_attribute(KeyValue::new("rpc.grpc.status_code", number));
        let failed = [
            Code::Unknown,
            Code::DeadlineExceeded,
            Code::Unimplemented,
            Code::Internal,
            Code::Unavailable,
            Code::DataLoss,
        ];
        if failed.contains(&code) {
            self.span.set_status(Status::error(code_name(code)));
        }
    }
}

/// Headers as propagators read them.
struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
