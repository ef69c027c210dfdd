//! HTTP for a guest, to the servers that were granted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use transom_storage::object::client_builder;
use wasmtime::component::Resource;

use super::error::unavailable;
use super::powers::{Told, refused};
use crate::limits::{CALL_BYTES_MAX, DRIVER_HEADERS_MAX, READ_BYTES_MAX};
use crate::state::State;
use crate::wit::storage_v0_1::{http, types};

/// Headers that are about the connection: the host's.
const OWN: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Pieces of a body that wait for the connection. One is being sent, one is being made.
const PIECES: usize = 2;

/// An answer. It is taken out while it is waited for.
#[allow(unreachable_pub, reason = "the generated module exports it again")]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<reqwest::Response>,
    rest: Bytes,
}

/// A request of which the body is being sent.
#[allow(unreachable_pub, reason = "the generated module exports it again")]
pub struct Upload {
    /// `None` ends the body. Without it the body is cut off, and the server must not take it for whole.
    pieces: mpsc::Sender<Option<Bytes>>,
    answer: Option<JoinHandle<reqwest::Result<reqwest::Response>>>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(answer) = &self.answer {
            answer.abort();
        }
    }
}

/// A body that arrives in pieces.
struct Pieces {
    pieces: mpsc::Receiver<Option<Bytes>>,
    length: Option<u64>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match ready!(self.pieces.poll_recv(context)) {
            Some(Some(piece)) => Some(Ok(Frame::data(piece))),
            Some(None) => None,
            None => Some(Err(std::io::Error::other("the plugin broke the request off"))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A request's failure, as far as it may be shown.
fn failed(error: &reqwest::Error) -> types::Error {
    let mut text = "no answer".to_owned();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    unavailable(text, None)
}

fn response(answer: reqwest::Response) -> Response {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    Response {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().filter_map(header).collect(),
        body: Some(answer),
        rest: Bytes::new(),
    }
}

fn headers(given: &[(String, String)]) -> Result<HeaderMap, String> {
    if given.len() > DRIVER_HEADERS_MAX {
        return Err(format!("a request has at most {DRIVER_HEADERS_MAX} headers"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header's name is none")?;
        if OWN.contains(&name.as_str()) {
            return Err(format!("the header {name} is the host's"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| format!("the value of {name} is none"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

impl State {
    /// A request that may be sent, or why not.
    fn request(&mut self, request: &http::Request) -> Told<RequestBuilder> {
        let invalid = |text: &str| Ok(Err(types::Error::Other(format!("this is no request: {text}"))));
        let Ok(url) = Url::parse(&request.url) else {
            return invalid("its URL is none");
        };
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("its URL has a user");
        }
        let powers = self.powers()?;
        if let Err(line) = powers.grants.hosts.check(&url) {
            let server = url.origin().ascii_serialization();
            return Ok(Err(refused(&format!("reach {server}"), "http", &line)));
        }
        if !powers.asks_for_http {
            return Ok(Err(refused("use HTTP", "http", "hosts = […]")));
        }
        let Ok(method) = Method::from_bytes(request.method.as_bytes()) else {
            return invalid("its method is none");
        };
        let headers = match headers(&request.headers) {
            Ok(headers) => headers,
            Err(text) => return invalid(&text),
        };
        let client = self.client()?;
        Ok(Ok(client.request(method, url).headers(headers)))
    }

    /// The client, with its connections.
    fn client(&mut self) -> wasmtime::Result<Client> {
        let powers = self.powers()?;
        if let Some(client) = &powers.client {
            return Ok(client.clone());
        }
        let builder = client_builder("transom", false)?;
        let client = builder.redirect(reqwest::redirect::Policy::none()).build()?;
        powers.client = Some(client.clone());
        Ok(client)
    }

    fn answered(&mut self, answer: reqwest::Result<reqwest::Response>) -> Told<Resource<Response>> {
        match answer {
            Ok(answer) => Ok(Ok(self.powers()?.table.push(response(answer))?)),
            Err(error) => Ok(Err(failed(&error))),
        }
    }
}

/// Pieces of at most this many bytes are written at once, or the guest is stopped.
fn check_length(bytes: &[u8]) -> wasmtime::Result<()> {
    match bytes.len() > CALL_BYTES_MAX {
        true => Err(wasmtime::Error::msg(format!(
            "it sent {} bytes at once",
            bytes.len()
        ))),
        false => Ok(()),
    }
}

impl http::Host for State {
    fn send(&mut self, request: http::Request, body: Vec<u8>) -> Told<Resource<Response>> {
        check_length(&body)?;
        self.usage.written += body.len() as u64;
        let request = match self.request(&request)? {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let answer = self.wait(async { request.body(body).send().await })?;
        self.answered(answer)
    }

    fn send_upload(&mut self, request: http::Request, length: Option<u64>) -> Told<Resource<Upload>> {
        let request = match self.request(&request)? {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let (pieces, receiver) = mpsc::channel(PIECES);
        let body = Pieces {
            pieces: receiver,
            length,
        };
        let request = request.body(reqwest::Body::wrap(body));
        let Some(runtime) = self.powers()?.runtime.clone() else {
            return Err(wasmtime::Error::msg(
                "HTTP cannot be used while the driver is opened",
            ));
        };
        let answer = runtime.spawn(async { request.send().await });
        let upload = Upload {
            pieces,
            answer: Some(answer),
        };
        Ok(Ok(self.powers()?.table.push(upload)?))
    }
}

impl http::HostUpload for State {
    fn write(&mut self, this: Resource<Upload>, bytes: Vec<u8>) -> Told<()> {
        check_length(&bytes)?;
        self.usage.written += bytes.len() as u64;
        let pieces = self.powers()?.table.get(&this)?.pieces.clone();
        if !bytes.is_empty() {
            // A server that has answered already takes no more: what it said, `finish` tells.
            drop(self.wait(pieces.send(Some(bytes.into())))?);
        }
        Ok(Ok(()))
    }

    fn finish(&mut self, this: Resource<Upload>) -> Told<Resource<Response>> {
        let mut upload = self.powers()?.table.delete(this)?;
        let Some(answer) = upload.answer.take() else {
            return Err(wasmtime::Error::msg("an upload ended twice"));
        };
        let pieces = upload.pieces.clone();
        let answer = self.wait(async {
            drop(pieces.send(None).await);
            answer.await
        })?;
        match answer {
            Ok(answer) => self.answered(answer),
            Err(_) => Ok(Err(unavailable("the request was broken off".to_owned(), None))),
        }
    }

    fn drop(&mut self, this: Resource<Upload>) -> wasmtime::Result<()> {
        self.powers()?.table.delete(this)?;
        Ok(())
    }
}

impl http::HostResponse for State {
    fn status(&mut self, this: Resource<Response>) -> wasmtime::Result<u16> {
        Ok(self.powers()?.table.get(&this)?.status)
    }

    fn headers(&mut self, this: Resource<Response>) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.powers()?.table.get(&this)?.headers.clone())
    }

    fn read(&mut self, this: Resource<Response>, max: u32) -> Told<Vec<u8>> {
        let max = READ_BYTES_MAX.min(max as usize);
        let held = self.powers()?.table.get_mut(&this)?;
        if held.rest.is_empty() && max > 0 {
            let Some(mut body) = held.body.take() else {
                return Ok(Ok(Vec::new()));
            };
            let chunk = self.wait(body.chunk())?;
            let held = self.powers()?.table.get_mut(&this)?;
            match chunk {
                Err(error) => return Ok(Err(failed(&error))),
                Ok(Some(chunk)) => {
                    held.rest = chunk;
                    held.body = Some(body);
                }
                Ok(None) => {}
            }
        }
        let held = self.powers()?.table.get_mut(&this)?;
        let chunk = held.rest.split_to(held.rest.len().min(max));
        self.usage.read += chunk.len() as u64;
        Ok(Ok(chunk.into()))
    }

    fn drop(&mut self, this: Resource<Response>) -> wasmtime::Result<()> {
        self.powers()?.table.delete(this)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_about_the_connection_are_the_hosts() {
        let one = |name: &str, value: &str| headers(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(one("Range", "bytes=1-").unwrap()["range"], "bytes=1-");
        for name in ["Host", "Content-Length", "transfer-encoding", "bad name", ""] {
            one(name, "x").unwrap_err();
        }
        one("x", "a\r\nb: c").unwrap_err();
        let many = vec![("a".to_owned(), String::new()); DRIVER_HEADERS_MAX + 1];
        headers(&many).unwrap_err();
    }
}
