//! Requests to answers: who asks for what, may they, and what comes of it.
//!
//! [`Registry`] takes a request. `route` says what the path is about, `query` reads what follows the `?`, `call` asks the gate
//! and tells listeners; `blobs`, `uploads`, `manifests` and `lists` do what is asked, `foreign` where
//! a repository is not in the store. `range` and `accept` read headers,
//! `incoming` is the body of a request, `body`, `file` and `kernel` are that of an answer, `errors` decides what an error looks like, `log`
//! writes the line in the access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, request};
use tokio::sync::Semaphore;

use crate::access::Gate;
use crate::admission::Admission;
use crate::event::Listener;
use crate::limits;
use crate::metrics::Metrics;
use crate::source::{Chain, Source};
use crate::store::Store;

mod accept;
mod blobs;
mod body;
mod call;
pub(crate) mod errors;
mod file;
mod foreign;
mod incoming;
pub(crate) mod kernel;
mod lists;
mod log;
mod manifests;
mod query;
mod range;
mod route;
mod uploads;

pub use body::Body;
pub use log::ACCESS;

use call::Call;
use incoming::Incoming;
use log::Ending;
use query::Query;
use route::Route;

/// Says which version of the interface this is; old clients look for it.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is up to the operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether blobs, manifests and tags can be deleted.
    pub delete: bool,
    /// Whether clients are sent to the store where it gives URLs.
    pub redirect: bool,
    /// The scheme and host that clients call us by, if that is not what they say themselves: a proxy may stand between.
    pub origin: Option<String>,
    /// Whether `Location` is a path only.
    pub relative_urls: bool,
    /// What is sent with every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Tags on a page, at most.
    pub tags_page: usize,
    /// Repositories on a page, at most.
    pub catalog_page: usize,
    /// What may be pushed.
    pub admission: Admission,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            delete: true,
            redirect: true,
            origin: None,
            relative_urls: true,
            headers: Vec::new(),
            tags_page: limits::TAGS_PAGE,
            catalog_page: limits::CATALOG_PAGE_MAX,
            admission: Admission::default(),
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where.
    pub address: SocketAddr,
    /// Whether by TLS.
    pub secure: bool,
    /// The subject of the certificate that was shown and verified.
    pub certificate: Option<Arc<str>>,
}

/// A registry that answers requests. Clones are the same registry.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    sources: Chain,
    gate: Arc<dyn Gate>,
    listener: Arc<dyn Listener>,
    settings: Settings,
    metrics: Metrics,
    read_only: AtomicBool,
    /// Bytes of manifests that may arrive.
    arriving: Semaphore,
    /// Makes the ids of requests differ.
    instance: u64,
    requests: AtomicU64,
}

impl Registry {
    /// A registry of what is in a store.
    #[must_use]
    pub fn new(
        store: Store,
        gate: Arc<dyn Gate>,
        listener: Arc<dyn Listener>,
        settings: Settings,
        metrics: Metrics,
    ) -> Registry {
        Registry::with_sources(store, Vec::new(), gate, listener, settings, metrics)
    }

    /// A registry of what is in a store, and of what others have. Of several that may have a repository, the
    /// first that has what is asked for gives it.
    #[must_use]
    pub fn with_sources(
        store: Store,
        sources: Vec<Arc<dyn Source>>,
        gate: Arc<dyn Gate>,
        listener: Arc<dyn Listener>,
        settings: Settings,
        metrics: Metrics,
    ) -> Registry {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let inner = Inner {
            store,
            sources: Chain::new(sources),
            gate,
            listener,
            settings,
            metrics,
            read_only: AtomicBool::new(false),
            arriving: Semaphore::new(limits::MANIFESTS_ARRIVING as usize),
            instance: since.as_micros() as u64,
            requests: AtomicU64::new(0),
        };
        let inner = Arc::new(inner);
        Registry { inner }
    }

    /// What it serves.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Whether nothing can be changed at the moment.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.inner.read_only.load(Ordering::Relaxed)
    }

    /// From now on nothing can be changed, or can be again. What has begun goes on.
    pub fn set_read_only(&self, read_only: bool) {
        self.inner.read_only.store(read_only, Ordering::Relaxed);
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>, peer: &Peer) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let begun = Instant::now();
        self.inner.metrics.begun();
        let (head, body) = request.into_parts();
        let number = self.inner.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:x}-{number:x}", self.inner.instance);
        let mut call = Call::new(&self.inner, &head, peer, &id);
        let (result, route) = match Route::find(head.uri.path()) {
            Ok(route) => {
                let name = route.name();
                let mut body = Incoming::new(body);
                let result = call.run(route, &mut body).await;
                // Whoever asks first whether it may send sends nothing.
                if !head.headers.contains_key(EXPECT) {
                    body.finish().await;
                }
                (result, name)
            }
            Err(error) => (Err(error), "unknown"),
        };
        let actor = call.actor.name.take();
        let origin = match self.inner.settings.relative_urls {
            true => None,
            false => Some(call.origin()),
        };
        let mut response = result.unwrap_or_else(|error| {
            let response = errors::answer(&error);
            if response.status().is_server_error() {
                tracing::error!(%id, path = head.uri.path(), %error, "a request failed");
            }
            response
        });
        finish(&mut response, &head, &id);
        let headers = response.headers_mut();
        for (name, value) in &self.inner.settings.headers {
            headers.append(name, value.clone());
        }
        if let Some(origin) = origin {
            call::make_absolute(headers, &origin);
        }
        let ending = Ending {
            metrics: self.inner.metrics.clone(),
            begun,
            id,
            client: peer.address,
            status: response.status(),
            actor,
            agent: text(&head, &USER_AGENT),
            length: response.body().left(),
            sent: 0,
            route,
            path: head
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            method: head.method,
        };
        response.body_mut().ends(ending);
        response
    }
}

/// What every answer has, and what none has to `HEAD`.
fn finish(response: &mut Response<Body>, head: &request::Parts, id: &str) {
    let length = response.body().left();
    let bodiless = matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    if let Ok(id) = id.parse() {
        headers.insert(REQUEST_ID, id);
    }
    if !bodiless && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if head.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
}

/// The text of a header, cut to what is repeated.
fn text(head: &request::Parts, name: &HeaderName) -> String {
    let text = head.headers.get(name).and_then(|value| value.to_str().ok());
    let text = text.unwrap_or_default();
    text.chars().take(limits::SHOWN_BYTES).collect()
}
