//! Requests to a registry, over HTTP/1.1 as its clients send them.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use transom_oci::{Algorithm, Digest, Hasher};

use crate::jobs::{READY_MAX, READY_PAUSE, sum};
use crate::{Arguments, Done, Error, Job};

const REPOSITORY: &str = "bench/app";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Bytes of the pieces that large bodies are made of.
const BLOCK: usize = 1 << 20;

type Body = BoxBody<Bytes, Infallible>;

/// Runs a job.
pub(crate) async fn run(arguments: &Arguments) -> Result<Done, Error> {
    match arguments.job {
        Job::RegistryReady => ready(arguments).await,
        Job::RegistrySeed => seed(arguments).await,
        Job::RegistryPull => pull(arguments).await,
        Job::RegistryPush => push(arguments).await,
        _ => repeat(arguments).await,
    }
}

async fn ready(arguments: &Arguments) -> Result<Done, Error> {
    let start = Instant::now();
    loop {
        let answer = match Connection::open(arguments).await {
            Ok(mut connection) => connection.get("/v2/").await.map(drop),
            Err(error) => Err(error),
        };
        match answer {
            Ok(()) => return Ok(done(1, 0, start)),
            Err(error) if start.elapsed() > READY_MAX => return Err(error),
            Err(_) => tokio::time::sleep(READY_PAUSE).await,
        }
    }
}

/// A manifest `latest` with a layer of 4 KiB, and a blob of `size` bytes.
async fn seed(arguments: &Arguments) -> Result<Done, Error> {
    let start = Instant::now();
    let mut connection = Connection::open(arguments).await?;
    let config = small(0, 64);
    let layer = small(1, 4096);
    for blob in [&config, &layer] {
        connection.put_blob(blob).await?;
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": digest(&config).as_str(), "size": config.len() },
        "layers": [{ "mediaType": LAYER, "digest": digest(&layer).as_str(), "size": layer.len() }],
    });
    let path = format!("/v2/{REPOSITORY}/manifests/latest");
    let request = connection
        .request(Method::PUT, &path)
        .header(CONTENT_TYPE, MANIFEST);
    let body = Full::new(Bytes::from(manifest.to_string())).boxed();
    connection.send(request.body(body)?, StatusCode::CREATED).await?;
    connection.push(&Large::new(arguments.size, 0), 0).await?;
    Ok(done(1, arguments.size, start))
}

/// One kind of small request until the time is over.
async fn repeat(arguments: &Arguments) -> Result<Done, Error> {
    let until = Duration::from_secs_f64(arguments.seconds);
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for number in 0..arguments.clients {
        let arguments = arguments.clone();
        let mut connection = Connection::open(&arguments).await?;
        let blob = digest(&small(1, 4096));
        tasks.spawn(async move {
            let mut count = 0;
            while start.elapsed() < until {
                match arguments.job {
                    Job::RegistryManifest => {
                        connection
                            .get(&format!("/v2/{REPOSITORY}/manifests/latest"))
                            .await?;
                    }
                    Job::RegistryBlob => {
                        connection.get(&format!("/v2/{REPOSITORY}/blobs/{blob}")).await?;
                    }
                    Job::RegistryTags => {
                        connection.get("/v2/bench/tags/tags/list?n=100").await?;
                    }
                    Job::RegistryCatalog => {
                        connection.get("/v2/_catalog?n=100").await?;
                    }
                    _ => {
                        let salt = (arguments.salt << 40) | (u64::from(number) << 24) | count;
                        connection.put_blob(&small(salt + 2, 4096)).await?;
                    }
                }
                count += 1;
            }
            Ok::<_, Error>(count)
        });
    }
    let operations = sum(tasks).await?;
    Ok(done(operations, 0, start))
}

/// The large blob of `seed`.
async fn pull(arguments: &Arguments) -> Result<Done, Error> {
    let path = format!("/v2/{REPOSITORY}/blobs/{}", Large::new(arguments.size, 0).digest);
    let mut connection = Connection::open(arguments).await?;
    let start = Instant::now();
    let bytes = connection.get(&path).await?;
    if bytes != arguments.size {
        return Err(Error::Wrong(format!("{bytes} bytes came of {}", arguments.size)));
    }
    Ok(done(1, bytes, start))
}

/// A blob of `size` bytes from each client, in one stream if `chunk` is 0, else in chunks.
async fn push(arguments: &Arguments) -> Result<Done, Error> {
    let mut made = Vec::new();
    for number in 0..arguments.clients {
        let blob = Large::new(arguments.size, (arguments.salt << 16) | (u64::from(number) + 1));
        made.push((Connection::open(arguments).await?, blob));
    }
    let mut tasks = JoinSet::new();
    let (start, chunk) = (Instant::now(), u64::from(arguments.chunk));
    for (mut connection, blob) in made {
        tasks.spawn(async move { connection.push(&blob, chunk).await.map(|()| 1) });
    }
    let operations = sum(tasks).await?;
    Ok(done(operations, operations * arguments.size, start))
}

fn done(operations: u64, bytes: u64, start: Instant) -> Done {
    Done {
        operations,
        bytes,
        time: start.elapsed(),
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// Bytes that differ by the salt.
fn small(salt: u64, size: usize) -> Bytes {
    let mut bytes = vec![b'.'; size];
    bytes[..8].copy_from_slice(&salt.to_le_bytes());
    bytes.into()
}

/// A blob that is one block over and over, but for its first.
struct Large {
    first: Bytes,
    block: Bytes,
    size: u64,
    digest: Digest,
}

impl Large {
    fn new(size: u64, salt: u64) -> Large {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = Vec::with_capacity(BLOCK);
        while block.len() < BLOCK {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        let mut first = block.clone();
        first[..8].copy_from_slice(&salt.to_le_bytes());
        let mut large = Large {
            first: first.into(),
            block: block.into(),
            size,
            digest: digest(b""),
        };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for piece in large.pieces(0, size) {
            hasher.update(&piece);
        }
        large.digest = hasher.finish();
        large
    }

    /// The bytes of a range that begins at the beginning of a block.
    fn pieces(&self, from: u64, to: u64) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        let mut at = from;
        while at < to {
            let block = if at == 0 { &self.first } else { &self.block };
            let length = usize::try_from(to - at).unwrap_or(BLOCK).min(BLOCK);
            pieces.push(block.slice(..length));
            at += length as u64;
        }
        pieces
    }

    fn body(&self, from: u64, to: u64) -> Body {
        let frames = self
            .pieces(from, to)
            .into_iter()
            .map(|piece| Ok(Frame::data(piece)));
        StreamBody::new(tokio_stream::iter(frames)).boxed()
    }
}

/// One connection, one request at a time.
struct Connection {
    sender: SendRequest<Body>,
    host: String,
}

impl Connection {
    async fn open(arguments: &Arguments) -> Result<Connection, Error> {
        let host = arguments.socket.display().to_string();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, host })
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
    }

    /// Sends a request, takes all of the answer, and gives its headers and how long its body was.
    async fn send(&mut self, request: Request<Body>, wanted: StatusCode) -> Result<(HeaderMap, u64), Error> {
        let what = format!("{} {}", request.method(), request.uri());
        self.sender.ready().await?;
        let response: Response<Incoming> = self.sender.send_request(request).await?;
        let (head, mut body) = response.into_parts();
        let (mut length, mut seen) = (0, Vec::new());
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                length += data.len() as u64;
                if head.status != wanted {
                    seen.extend_from_slice(&data);
                }
            }
        }
        if head.status != wanted {
            let text = String::from_utf8_lossy(&seen);
            return Err(Error::Wrong(format!("{what}: {}: {text}", head.status)));
        }
        Ok((head.headers, length))
    }

    async fn get(&mut self, path: &str) -> Result<u64, Error> {
        let request = self.request(Method::GET, path).header(ACCEPT, MANIFEST);
        let (_, length) = self.send(request.body(empty())?, StatusCode::OK).await?;
        Ok(length)
    }

    /// `POST`, then `PUT` with the blob.
    async fn put_blob(&mut self, blob: &Bytes) -> Result<(), Error> {
        let place = self.begin().await?;
        let body = Full::new(blob.clone()).boxed();
        self.finish(&place, &digest(blob), body).await
    }

    /// `POST`, `PATCH` once or chunk by chunk, then `PUT` without a body.
    async fn push(&mut self, blob: &Large, chunk: u64) -> Result<(), Error> {
        let mut place = self.begin().await?;
        let mut at = 0;
        while at < blob.size {
            let end = if chunk == 0 {
                blob.size
            } else {
                blob.size.min(at + chunk)
            };
            let mut request = self
                .request(Method::PATCH, &place)
                .header(CONTENT_TYPE, "application/octet-stream")
                .header(CONTENT_LENGTH, end - at);
            if chunk > 0 {
                request = request.header(CONTENT_RANGE, format!("{at}-{}", end - 1));
            }
            let (headers, _) = self
                .send(request.body(blob.body(at, end))?, StatusCode::ACCEPTED)
                .await?;
            place = location(&headers)?;
            at = end;
        }
        self.finish(&place, &blob.digest, empty()).await
    }

    async fn begin(&mut self) -> Result<String, Error> {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/");
        let request = self.request(Method::POST, &path).header(CONTENT_LENGTH, 0);
        let (headers, _) = self.send(request.body(empty())?, StatusCode::ACCEPTED).await?;
        location(&headers)
    }

    async fn finish(&mut self, place: &str, digest: &Digest, body: Body) -> Result<(), Error> {
        let joint = if place.contains('?') { '&' } else { '?' };
        let path = format!("{place}{joint}digest={digest}");
        let request = self
            .request(Method::PUT, &path)
            .header(CONTENT_TYPE, "application/octet-stream");
        self.send(request.body(body)?, StatusCode::CREATED)
            .await
            .map(drop)
    }
}

fn empty() -> Body {
    Empty::new().boxed()
}

/// Where an upload goes on: a path, also if the registry names its host.
fn location(headers: &HeaderMap) -> Result<String, Error> {
    let value = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let uri: Option<http::Uri> = value.and_then(|value| value.parse().ok());
    let path = uri.and_then(|uri| uri.path_and_query().map(ToString::to_string));
    path.ok_or_else(|| Error::Wrong("an answer has no Location".to_owned()))
}
