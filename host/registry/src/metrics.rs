//! What the registry counts, under docker-registry's names, so that dashboards go on.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

mod states;

pub(crate) use states::register as states;

/// All counters of one registry. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    requests: Family<Request, Counter>,
    durations: Family<Handler, Histogram, fn() -> Histogram>,
    in_flight: Gauge<i64, AtomicI64>,
    received: Counter,
    sent: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    handler: &'static str,
    method: &'static str,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handler {
    handler: &'static str,
    method: &'static str,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let inner = Inner {
            requests: Family::default(),
            durations: Family::new_with_constructor(latency),
            in_flight: Gauge::default(),
            received: Counter::default(),
            sent: Counter::default(),
        };
        let inner = Arc::new(inner);
        Metrics { inner }
    }
}

impl Metrics {
    /// Gives everything that is counted its name in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let http = registry.sub_registry_with_prefix("registry_http");
        let help = "Requests that have ended, by handler, method and status";
        http.register("requests", help, self.inner.requests.clone());
        let help = "From a request to the end of its answer, by handler and method";
        http.register_with_unit(
            "request_duration",
            help,
            Unit::Seconds,
            self.inner.durations.clone(),
        );
        let help = "Requests that have not ended";
        http.register("in_flight_requests", help, self.inner.in_flight.clone());
        let help = "Bytes of uploads and manifests that clients have sent";
        http.register("received_bytes", help, self.inner.received.clone());
        let help = "Bytes of answers that clients were sent";
        http.register("sent_bytes", help, self.inner.sent.clone());
    }

    pub(crate) fn begun(&self) {
        self.inner.in_flight.inc();
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.inner.received.inc_by(bytes);
    }

    pub(crate) fn ended(
        &self,
        handler: &'static str,
        method: &Method,
        status: StatusCode,
        took: Duration,
        sent: u64,
    ) {
        let (method, code) = (known(method), status.as_u16());
        let request = Request {
            handler,
            method,
            code,
        };
        self.inner.requests.get_or_create(&request).inc();
        let handler = Handler { handler, method };
        let durations = &self.inner.durations;
        durations.get_or_create(&handler).observe(took.as_secs_f64());
        self.inner.sent.inc_by(sent);
        self.inner.in_flight.dec();
    }
}

/// The name of a method; what a stranger makes up does not become a label.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::PUT => "put",
        Method::POST => "post",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// From 50 µs, a look-up, to minutes, a large layer.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 4.0, 11))
}
