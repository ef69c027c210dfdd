//! What the daemon counts, for Prometheus. `http` serves it, `records` asks metadata, `ahead` who unpacks layers early.

mod ahead;
pub mod http;
mod records;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;
use transom_diff::Ahead;
use transom_meta::Metadata;
use transom_plugin::watch::{PluginCalls, PluginsInUse};

use crate::plugins::set::Shelf;

/// All counters of one daemon. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    calls: Family<Call, Counter>,
    latencies: Family<Method, Histogram, fn() -> Histogram>,
    ingested: Counter,
    read: Counter,
    streams: Gauge,
    calls_of_plugins: PluginCalls,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let inner = Inner {
            calls: Family::default(),
            latencies: Family::new_with_constructor(latency),
            ingested: Counter::default(),
            read: Counter::default(),
            streams: Gauge::default(),
            calls_of_plugins: PluginCalls::default(),
            registry: Mutex::default(),
        };
        let metrics = Metrics {
            inner: Arc::new(inner),
        };
        metrics.name_all();
        metrics
    }
}

impl Metrics {
    /// A request has ended.
    pub fn call(&self, method: &'static str, code: Code, took: Duration) {
        let call = Call {
            method,
            code: code_name(code),
        };
        self.inner.calls.get_or_create(&call).inc();
        let method = Method { method };
        self.inner
            .latencies
            .get_or_create(&method)
            .observe(took.as_secs_f64());
    }

    /// A client has written bytes.
    pub fn ingested(&self, bytes: usize) {
        self.inner.ingested.inc_by(bytes as u64);
    }

    /// A client has been sent bytes of a blob.
    pub fn read(&self, bytes: usize) {
        self.inner.read.inc_by(bytes as u64);
    }

    /// A write stream is open until the result is dropped.
    #[must_use]
    pub fn write_stream(&self) -> OpenStream {
        self.inner.streams.inc();
        OpenStream {
            streams: self.inner.streams.clone(),
        }
    }

    /// The part that counts what plugins do.
    #[must_use]
    pub fn calls_of_plugins(&self) -> PluginCalls {
        self.inner.calls_of_plugins.clone()
    }

    /// Shows the plugins that are in use.
    pub fn plugins(&self, shelf: Shelf) {
        let plugins = PluginsInUse::new(move || shelf.now().in_use());
        let mut root = self.registry();
        root.sub_registry_with_prefix("transom")
            .register_collector(Box::new(plugins));
    }

    /// Counts the layers that are unpacked before anybody asks.
    pub fn ahead(&self, ahead: Ahead) {
        let mut root = self.registry();
        root.sub_registry_with_prefix("transom")
            .register_collector(Box::new(ahead::Layers::new(ahead)));
    }

    /// Counts what the key-value store and the collector of garbage do.
    pub fn records(&self, metadata: Metadata) {
        let records = records::Records::new(metadata);
        let mut root = self.registry();
        root.sub_registry_with_prefix("transom")
            .register_collector(Box::new(records));
    }

    /// Counts what somebody else gives names.
    pub fn also(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry());
    }

    /// All of it, in the OpenMetrics text format.
    ///
    /// # Errors
    /// Only if a collector fails to write itself.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry())?;
        Ok(text)
    }

    /// Gives everything that is counted here its name.
    fn name_all(&self) {
        let inner = &self.inner;
        let mut root = self.registry();
        let registry = root.sub_registry_with_prefix("transom");
        let help = "Requests that have ended, by method and code";
        registry.register("rpc", help, inner.calls.clone());
        let help = "From a request to the end of its answer, by method";
        registry.register_with_unit("rpc_latency", help, Unit::Seconds, inner.latencies.clone());
        registry.register(
            "ingested_bytes",
            "Bytes written by clients",
            inner.ingested.clone(),
        );
        registry.register("read_bytes", "Bytes of blobs sent to clients", inner.read.clone());
        let help = "Write streams that are open";
        registry.register("write_streams", help, inner.streams.clone());
        inner.calls_of_plugins.register(registry);
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.inner.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an open stream for as long as it lives.
#[derive(Debug)]
pub struct OpenStream {
    streams: Gauge,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.dec();
    }
}

/// From 50 µs, a look-up, to minutes, a long upload.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 4.0, 11))
}

/// The name of a code as gRPC writes it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
