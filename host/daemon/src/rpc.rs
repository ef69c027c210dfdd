//! What every request goes through: who asks, which service, a number for the log, the count, and a net for panics.

use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use tracing::Span;

use crate::answers::panicked;
use crate::deadline::Deadline;
use crate::metrics::Metrics;
use crate::socket::Peer;
use crate::traces::{Began, Trace, Traces};

type Handler = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// All services, by name.
#[derive(Clone, Debug)]
pub struct Services {
    inner: Arc<Inner>,
}

struct Inner {
    handlers: HashMap<&'static str, Handler>,
    /// The paths that are counted each on its own; a stranger cannot add to them.
    methods: HashMap<String, &'static str>,
    metrics: Metrics,
    traces: Traces,
    next: AtomicU64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services")
            .field("names", &self.handlers.keys())
            .finish_non_exhaustive()
    }
}

/// Collects the services.
#[derive(Default)]
pub struct Builder {
    handlers: HashMap<&'static str, Handler>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.handlers.keys()).finish()
    }
}

impl Builder {
    /// Adds a service.
    #[must_use]
    pub fn service<S>(mut self, service: S) -> Builder
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.handlers.insert(S::NAME, BoxCloneSyncService::new(service));
        self
    }

    /// All of them, counted by `metrics` and followed by `traces`.
    #[must_use]
    pub fn build(self, metrics: Metrics, traces: Traces) -> Services {
        Services {
            inner: Arc::new(Inner {
                handlers: self.handlers,
                methods: crate::services::methods(),
                metrics,
                traces,
                next: AtomicU64::new(1),
            }),
        }
    }
}

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Call;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Call {
        let path = request.uri().path();
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let span = tracing::info_span!("rpc", id, method = path);
        let method = self.inner.methods.get(path).copied().unwrap_or("other");
        let headers = request.headers();
        let deadline = Deadline::of(headers);
        let count = Count {
            metrics: self.inner.metrics.clone(),
            trace: self.inner.traces.begin(&Began { id, method, headers }),
            method,
            begin: Instant::now(),
            span,
            code: None,
            ended: false,
        };
        let work = match self.inner.find(&request) {
            Ok(handler) => Work::Handler(Box::pin(handler.oneshot(request))),
            Err(status) => Work::Refused(Some(status)),
        };
        Call {
            work,
            deadline,
            count: Some(count),
        }
    }
}

impl Inner {
    fn find(&self, request: &Request<Body>) -> Result<Handler, Status> {
        if request
            .extensions()
            .get::<Peer>()
            .is_some_and(|peer| !peer.allowed)
        {
            let message = "this user may not use the daemon; see `allowed_uids` and `allowed_gids` in its configuration: permission denied";
            return Err(Status::permission_denied(message));
        }
        let mut parts = request.uri().path().splitn(3, '/').skip(1);
        let (service, method) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Some(handler) = self.handlers.get(service) else {
            return Err(Status::unimplemented(format!("unknown service {service}")));
        };
        if !self.methods.contains_key(request.uri().path()) {
            let message = format!("unknown method {method} for service {service}");
            return Err(Status::unimplemented(message));
        }
        Ok(handler.clone())
    }
}

enum Work {
    Handler(Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>),
    Refused(Option<Status>),
}

/// A request that is being answered.
pub struct Call {
    work: Work,
    deadline: Deadline,
    count: Option<Count>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

impl Future for Call {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.get_mut();
        let _entered = call.count.as_ref().map(|count| count.span.clone().entered());
        let response = match &mut call.work {
            Work::Refused(status) => {
                let status = status
                    .take()
                    .unwrap_or_else(|| Status::internal("polled after its end"));
                status.into_http()
            }
            Work::Handler(work) => match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                Ok(Poll::Ready(answer)) => answer.unwrap_or_else(|never| match never {}),
                // What was begun is dropped with the call.
                Ok(Poll::Pending) => ready!(call.deadline.poll(cx)).into_http(),
                Err(panic) => panicked(&*panic).into_http(),
            },
        };
        Poll::Ready(Ok(match call.count.take() {
            Some(count) => count.answer(response),
            None => response,
        }))
    }
}

/// Counts a request when it ends, however it ends.
struct Count {
    metrics: Metrics,
    trace: Option<Trace>,
    method: &'static str,
    begin: Instant,
    span: Span,
    code: Option<Code>,
    ended: bool,
}

impl Count {
    fn answer(mut self, mut response: Response<Body>) -> Response<Body> {
        correct(response.headers_mut());
        self.see(response.headers());
        if self.code.is_some() {
            return response;
        }
        response.map(|inner| Body::new(Counted { inner, count: self }))
    }

    fn see(&mut self, headers: &HeaderMap) {
        let code = headers
            .get("grpc-status")
            .map(|code| Code::from_bytes(code.as_bytes()));
        self.code = code.or(self.code);
    }

    /// The request has ended, which is counted once.
    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let took = self.begin.elapsed();
        let code = self.code.unwrap_or(Code::Cancelled);
        self.metrics.call(self.method, code, took);
        if let Some(mut trace) = self.trace.take() {
            trace.code(code);
        }
        let _entered = self.span.enter();
        match code {
            Code::Internal | Code::DataLoss | Code::Unknown => tracing::warn!(?code, ?took, "failed"),
            _ => tracing::debug!(?code, ?took, "answered"),
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.end();
    }
}

/// The code of a message that is too large is the one that gRPC's own servers give, which clients know.
fn correct(headers: &mut HeaderMap) {
    let starts = |name, start: &str| {
        headers
            .get(name)
            .is_some_and(|value: &HeaderValue| value.as_bytes().starts_with(start.as_bytes()))
    };
    let out_of_range = starts(Status::GRPC_STATUS, "11");
    if out_of_range
        && starts(
            Status::GRPC_MESSAGE,
            "Error,%20decoded%20message%20length%20too%20large",
        )
    {
        headers.insert(Status::GRPC_STATUS, HeaderValue::from_static("8"));
    }
}

/// An answer whose trailers are looked at.
struct Counted {
    inner: Body,
    count: Count,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let counted = self.get_mut();
        let inner = Pin::new(&mut counted.inner);
        let polled = {
            let _entered = counted.count.span.enter();
            catch_unwind(AssertUnwindSafe(|| inner.poll_frame(cx)))
        };
        let frame = match polled {
            Ok(frame) => ready!(frame),
            Err(panic) => Some(Err(panicked(&*panic))),
        };
        let mut frame = frame;
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            correct(trailers);
            counted.count.see(trailers);
            // Before they go out: whoever has the answer sees it counted.
            counted.count.end();
        }
        if let Some(Err(status)) = &frame {
            counted.count.code = Some(status.code());
            counted.count.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
