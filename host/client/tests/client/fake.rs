//! A registry on loopback that does what a test tells it to: it keeps what is pushed, and it lies, cuts and stalls.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transom_oci::{Algorithm, Digest};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let url = reqwest::Url::parse(&format!("http://x/?{}", self.query)).unwrap();
        url.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// What is done to a request.
#[derive(Debug, Default)]
pub(crate) enum Fault {
    /// Nothing: it is answered as it should be.
    #[default]
    None,
    /// This instead.
    Reply(Response<Bytes>),
    /// The connection is cut after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body.
    Stall(usize),
    /// One bit is another, in this byte of the body.
    Flip(usize),
    /// The range is not looked at.
    NoRange,
    /// The range is answered from this many bytes later on.
    Shift(u64),
    /// A header is left out of the answer.
    Without(&'static str),
    /// A header is another.
    With(&'static str, String),
    /// Nothing happens as long as the number is 0; then this.
    #[allow(dead_code, reason = "the tests of transfers use it")]
    When(watch::Receiver<usize>, Box<Fault>),
}

/// An answer of a test's own.
pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    Fault::Reply(answer(status, headers, Bytes::from(body.to_owned())))
}

fn answer(status: u16, headers: &[(&str, &str)], body: Bytes) -> Response<Bytes> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}

type Plan = Box<dyn FnMut(&Seen) -> Fault + Send>;

/// The registry.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) shelf: Arc<Shelf>,
    server: JoinHandle<()>,
}

/// What it keeps.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) blobs: Mutex<HashMap<String, Bytes>>,
    /// By repository and tag or digest: type and bytes.
    pub(crate) manifests: Mutex<HashMap<String, (String, Bytes)>>,
    pub(crate) uploads: Mutex<HashMap<String, Vec<u8>>>,
    begun: AtomicUsize,
    pub(crate) seen: Mutex<Vec<Seen>>,
    plan: Mutex<Option<Plan>>,
    /// Sent with each upload that begins.
    pub(crate) chunk_min: Mutex<Option<u64>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// How connections are spoken on.
#[derive(Clone)]
pub(crate) enum Voice {
    Plain,
    Tls(tokio_rustls::TlsAcceptor),
}

impl Fake {
    pub(crate) async fn start() -> Fake {
        Fake::speaking(Voice::Plain).await
    }

    pub(crate) async fn speaking(voice: Voice) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shelf = Arc::<Shelf>::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&shelf), voice));
        Fake {
            address,
            shelf,
            server,
        }
    }

    /// What happens to each request from now on.
    pub(crate) fn plan(&self, plan: impl FnMut(&Seen) -> Fault + Send + 'static) {
        *self.shelf.plan.lock().unwrap() = Some(Box::new(plan));
    }

    /// What happens to the next requests, one after another; then nothing.
    pub(crate) fn next(&self, faults: Vec<Fault>) {
        let mut faults = faults.into_iter();
        self.plan(move |_| faults.next().unwrap_or_default());
    }

    pub(crate) fn add_blob(&self, bytes: impl Into<Bytes>) -> transom_oci::Descriptor {
        let bytes = bytes.into();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let size = bytes.len() as u64;
        self.shelf.blobs.lock().unwrap().insert(digest.to_string(), bytes);
        transom_oci::Descriptor::new(transom_oci::media_type::LAYER_TAR_GZIP, digest, size)
    }

    pub(crate) fn add_manifest(&self, name: &str, tag: &str, kind: &str, body: &str) -> Digest {
        self.shelf.put(name, tag, kind, &Bytes::from(body.to_owned()))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shelf.seen.lock().unwrap().clone()
    }

    /// The requests, each as `GET /v2/…`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen()
            .iter()
            .map(|seen| format!("{} {}", seen.method, seen.path))
            .collect()
    }
}

async fn serve(listener: TcpListener, shelf: Arc<Shelf>, voice: Voice) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let (shelf, voice) = (Arc::clone(&shelf), voice.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(Arc::clone(&shelf), request));
            match voice {
                Voice::Plain => {
                    let http = hyper::server::conn::http1::Builder::new();
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                }
                Voice::Tls(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        drop(http.serve_connection(TokioIo::new(stream), service).await);
                    } else {
                        let http = hyper::server::conn::http1::Builder::new();
                        drop(http.serve_connection(TokioIo::new(stream), service).await);
                    }
                }
            }
        });
    }
}

async fn respond(shelf: Arc<Shelf>, request: Request<Incoming>) -> Result<Response<Faulty>, Infallible> {
    let (head, body) = request.into_parts();
    // A body that is cut is answered with what came of it, as registries keep it.
    let (body, whole) = collect(body).await;
    let seen = Seen {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    shelf.seen.lock().unwrap().push(seen.clone());
    let fault = match &mut *shelf.plan.lock().unwrap() {
        Some(plan) => plan(&seen),
        None => Fault::None,
    };
    // Outside the lock, and without a thread that others may need.
    let fault = match fault {
        Fault::When(mut number, then) => {
            number.wait_for(|number| *number > 0).await.unwrap();
            *then
        }
        other => other,
    };
    let response = match &fault {
        Fault::Reply(response) => clone(response),
        fault => shelf.handle(&seen, fault, whole),
    };
    Ok(faulty(response, fault))
}

async fn collect(mut body: Incoming) -> (Bytes, bool) {
    let mut all = Vec::new();
    loop {
        match body.frame().await {
            None => return (all.into(), true),
            Some(Ok(frame)) => all.extend_from_slice(frame.data_ref().unwrap()),
            Some(Err(_)) => return (all.into(), false),
        }
    }
}

fn clone(response: &Response<Bytes>) -> Response<Bytes> {
    let mut copy = Response::new(response.body().clone());
    *copy.status_mut() = response.status();
    *copy.headers_mut() = response.headers().clone();
    copy
}

fn faulty(response: Response<Bytes>, fault: Fault) -> Response<Faulty> {
    let (mut head, bytes) = response.into_parts();
    let mut bytes = bytes.to_vec();
    head.headers
        .entry(CONTENT_LENGTH)
        .or_insert_with(|| bytes.len().into());
    let mut end = End::Good;
    match fault {
        Fault::Cut(after) if after < bytes.len() => {
            bytes.truncate(after);
            end = End::Cut(100);
        }
        Fault::Stall(after) if after < bytes.len() => {
            bytes.truncate(after);
            end = End::Stall;
        }
        Fault::Flip(at) if at < bytes.len() => bytes[at] ^= 0x10,
        Fault::Without(name) => {
            head.headers.remove(name);
        }
        Fault::With(name, value) => {
            head.headers.insert(name, value.parse().unwrap());
        }
        _ => {}
    }
    Response::from_parts(
        head,
        Faulty {
            bytes: bytes.into(),
            end,
        },
    )
}

/// A body that may end badly.
pub(crate) struct Faulty {
    bytes: Bytes,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Good,
    /// After so many more rounds.
    Cut(u32),
    Stall,
}

impl hyper::body::Body for Faulty {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if !self.bytes.is_empty() {
            // In pieces, so that what comes before a cut gets out.
            let length = self.bytes.len().min(16 << 10);
            return Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(length)))));
        }
        match self.end {
            End::Good => Poll::Ready(None),
            End::Stall => Poll::Pending,
            // Some more times around: the bytes before are to get out, and are to be read.
            End::Cut(0) => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
            End::Cut(rounds) => {
                self.end = End::Cut(rounds - 1);
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.end == End::Good
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Shelf {
    fn put(&self, name: &str, target: &str, kind: &str, bytes: &Bytes) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let mut manifests = self.manifests.lock().unwrap();
        for target in [target, digest.as_str()] {
            manifests.insert(format!("{name}/{target}"), (kind.to_owned(), bytes.clone()));
        }
        digest
    }

    fn handle(&self, seen: &Seen, fault: &Fault, whole: bool) -> Response<Bytes> {
        let Some(path) = seen.path.strip_prefix("/v2/") else {
            return answer(404, &[], Bytes::new());
        };
        if path.is_empty() {
            return answer(200, &[], Bytes::from_static(b"{}"));
        }
        if let Some((_, id)) = path.split_once("/blobs/uploads/") {
            return self.upload(seen, id, whole);
        }
        if let Some((_, digest)) = path.split_once("/blobs/") {
            let blob = self.blobs.lock().unwrap().get(digest).cloned();
            return blob.map_or_else(unknown, |blob| ranged(seen, fault, digest, &blob));
        }
        if let Some((name, target)) = path.split_once("/manifests/") {
            if seen.method == Method::PUT {
                let kind = seen.header("content-type").unwrap();
                let digest = self.put(name, target, kind, &seen.body);
                return answer(201, &[("docker-content-digest", digest.as_str())], Bytes::new());
            }
            let found = self
                .manifests
                .lock()
                .unwrap()
                .get(&format!("{name}/{target}"))
                .cloned();
            let Some((kind, bytes)) = found else {
                return unknown();
            };
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            let headers = [
                (CONTENT_TYPE.as_str(), kind.as_str()),
                ("docker-content-digest", digest.as_str()),
            ];
            return headed(seen, answer(200, &headers, bytes));
        }
        unknown()
    }

    fn upload(&self, seen: &Seen, id: &str, whole: bool) -> Response<Bytes> {
        let mut uploads = self.uploads.lock().unwrap();
        if id.is_empty() {
            let id = format!("u{}", self.begun.fetch_add(1, Ordering::Relaxed));
            uploads.insert(id.clone(), Vec::new());
            let place = format!("{}{id}", seen.path);
            let mut response = answer(
                202,
                &[(LOCATION.as_str(), &place), ("range", "0-0")],
                Bytes::new(),
            );
            if let Some(least) = *self.chunk_min.lock().unwrap() {
                response
                    .headers_mut()
                    .insert("oci-chunk-min-length", least.into());
            }
            return response;
        }
        let Some(data) = uploads.get_mut(id) else {
            return unknown();
        };
        data.extend_from_slice(&seen.body);
        let range = format!("0-{}", data.len().saturating_sub(1));
        let headers = [(LOCATION.as_str(), seen.path.as_str()), ("range", range.as_str())];
        match seen.method {
            _ if !whole => answer(499, &[], Bytes::new()),
            Method::PATCH => answer(202, &headers, Bytes::new()),
            Method::GET => answer(204, &headers, Bytes::new()),
            Method::DELETE => {
                uploads.remove(id);
                answer(204, &[], Bytes::new())
            }
            _ => {
                let bytes = Bytes::from(uploads.remove(id).unwrap());
                let digest = Digest::of(Algorithm::Sha256, &bytes).to_string();
                if seen.parameter("digest") != Some(digest.clone()) {
                    let body = r#"{"errors":[{"code":"DIGEST_INVALID","message":"digest invalid"}]}"#;
                    return answer(400, &[], Bytes::from_static(body.as_bytes()));
                }
                self.blobs.lock().unwrap().insert(digest.clone(), bytes);
                answer(201, &[("docker-content-digest", &digest)], Bytes::new())
            }
        }
    }
}

fn unknown() -> Response<Bytes> {
    let body = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"unknown to registry"}]}"#;
    answer(404, &[], Bytes::from_static(body.as_bytes()))
}

fn headed(seen: &Seen, mut response: Response<Bytes>) -> Response<Bytes> {
    if seen.method == Method::HEAD {
        let length = response.body().len();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        *response.body_mut() = Bytes::new();
    }
    response
}

fn ranged(seen: &Seen, fault: &Fault, digest: &str, blob: &Bytes) -> Response<Bytes> {
    let whole = || {
        headed(
            seen,
            answer(200, &[("docker-content-digest", digest)], blob.clone()),
        )
    };
    let Some(range) = seen
        .header(RANGE.as_str())
        .filter(|_| !matches!(fault, Fault::NoRange))
    else {
        return whole();
    };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let first: u64 = first.parse().unwrap();
    let last: u64 = last.parse().unwrap_or(u64::MAX);
    let shift = if let Fault::Shift(bytes) = fault {
        *bytes
    } else {
        0
    };
    let first = first + shift;
    let last = (last.saturating_add(shift)).min(blob.len() as u64 - 1);
    if first > last {
        let headers = [(CONTENT_RANGE.as_str(), format!("bytes */{}", blob.len()))];
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        return answer(416, &headers, Bytes::new());
    }
    let part = blob.slice(usize::try_from(first).unwrap()..=usize::try_from(last).unwrap());
    let range = format!("bytes {first}-{last}/{}", blob.len());
    let mut response = answer(206, &[(CONTENT_RANGE.as_str(), &range)], part);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response
}
