//! One request and the head of its answer, with what can go wrong on the way.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{NoProxy, Proxy, Request, Response, Url};

use super::retry::Retry;
use super::{Proxies, Timeouts, tls};
use crate::error::shortened;
use crate::hosts::Host;
use crate::{Error, Secret, limits};

/// What went wrong, and whether trying again may help.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Perhaps; after this time, if the other side named one.
    Again { error: Error, after: Option<Duration> },
    /// No.
    Never(Error),
}

impl Trouble {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Trouble::Again { error, .. } | Trouble::Never(error) => error,
        }
    }
}

/// Counts the bytes of a request's body that were handed over.
#[derive(Debug, Default)]
pub(crate) struct Flow(AtomicU64);

impl Flow {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The connections to a host, and to others that it sends us to.
#[derive(Debug)]
pub(crate) struct Wire {
    label: String,
    own: reqwest::Client,
    foreign: reqwest::Client,
    retry: Retry,
    stall: Duration,
}

impl Wire {
    pub(crate) fn new(
        host: &Host,
        proxies: &Proxies,
        timeouts: Timeouts,
        retry: Retry,
        agent: &str,
    ) -> Result<Wire, Error> {
        let own = client(host, proxies, timeouts, agent, false)?;
        // The same one, unless there is something that others must not see.
        let foreign = if host.identities.is_empty() {
            own.clone()
        } else {
            client(host, proxies, timeouts, agent, true)?
        };
        Ok(Wire {
            label: host.authority.clone(),
            own,
            foreign,
            retry,
            stall: timeouts.stall,
        })
    }

    /// The host, for errors.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn retry(&self) -> &Retry {
        &self.retry
    }

    pub(crate) fn stall(&self) -> Duration {
        self.stall
    }

    /// Sends a request. It may take as long as `flow` says that its body moves.
    pub(crate) async fn send(
        &self,
        foreign: bool,
        request: Request,
        flow: Option<&Arc<Flow>>,
    ) -> Result<Response, Trouble> {
        let client = if foreign { &self.foreign } else { &self.own };
        let (method, url) = (request.method().clone(), request.url().clone());
        tracing::debug!(%method, url = without_secrets(&url), "request");
        let mut sent = std::pin::pin!(client.execute(request));
        let mut seen = 0;
        let result = loop {
            match tokio::time::timeout(self.stall, sent.as_mut()).await {
                Ok(result) => break result,
                Err(_) => {
                    let moved = flow.map_or(0, |flow| flow.count());
                    if moved == seen {
                        return Err(self.stalled(&url));
                    }
                    seen = moved;
                }
            }
        };
        match result {
            Ok(response) => {
                tracing::debug!(%method, url = without_secrets(&url), status = response.status().as_u16(), "answer");
                Ok(response)
            }
            Err(error) => Err(trouble(&host_of(&url), error)),
        }
    }

    /// Whether the host speaks TLS on this port.
    pub(crate) async fn speaks_tls(&self, url: &Url) -> Result<bool, Error> {
        let sent = self.own.get(url.clone()).send();
        match tokio::time::timeout(self.stall, sent).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if error.is_connect() && is_not_tls(&error) => Ok(false),
            Ok(Err(error)) => Err(trouble(&host_of(url), error).into_error()),
            Err(_) => Err(self.stalled(url).into_error()),
        }
    }

    fn stalled(&self, url: &Url) -> Trouble {
        let error = Error::Stalled {
            host: host_of(url),
            after: self.stall,
        };
        Trouble::Again { error, after: None }
    }
}

fn client(
    host: &Host,
    proxies: &Proxies,
    timeouts: Timeouts,
    agent: &str,
    foreign: bool,
) -> Result<reqwest::Client, Error> {
    let failed = |reason: String| Error::Setup {
        host: host.authority.clone(),
        reason,
    };
    let tls = tls::config(host, foreign).map_err(|error| failed(error.to_string()))?;
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(agent)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(host.dial_timeout.unwrap_or(timeouts.connect))
        .http2_initial_stream_window_size(limits::HTTP2_STREAM_BYTES)
        .http2_initial_connection_window_size(limits::HTTP2_CONNECTION_BYTES)
        .no_proxy();
    for proxy in proxies_of(host, proxies).map_err(failed)? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| failed(chain(&error)))
}

fn proxies_of(host: &Host, proxies: &Proxies) -> Result<Vec<Proxy>, String> {
    // The text is not repeated: it may have a password in it.
    let made = |made: reqwest::Result<Proxy>| {
        made.map_err(|_| "the proxy is not an address such as http://proxy:8080".to_owned())
    };
    if let Some(proxy) = &host.proxy {
        return Ok(vec![made(Proxy::all(proxy.expose()))?]);
    }
    let none = || proxies.none.as_deref().and_then(NoProxy::from_string);
    let mut all = Vec::new();
    let given = |proxy: &Option<Secret>| proxy.clone().filter(|proxy| !proxy.is_empty());
    if let Some(proxy) = given(&proxies.http) {
        all.push(made(Proxy::http(proxy.expose()))?.no_proxy(none()));
    }
    if let Some(proxy) = given(&proxies.https) {
        all.push(made(Proxy::https(proxy.expose()))?.no_proxy(none()));
    }
    Ok(all)
}

/// What an error of the connection means.
pub(crate) fn trouble(host: &str, error: reqwest::Error) -> Trouble {
    let host = host.to_owned();
    let error = error.without_url();
    if error.is_builder() || error.is_request() && wrong_certificate(&error) {
        let reason = chain(&error);
        return Trouble::Never(if error.is_builder() {
            Error::Setup { host, reason }
        } else {
            Error::Tls { host, reason }
        });
    }
    let reason = chain(&error);
    Trouble::Again {
        error: Error::Unreachable { host, reason },
        after: None,
    }
}

/// All the causes of an error, each once.
fn chain(error: &reqwest::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        source = cause.source();
    }
    shortened(&parts.join(": "))
}

/// The error of TLS in an error.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(found) = tls_inside(cause) {
            return Some(found);
        }
        source = cause.source();
    }
    None
}

/// The system's errors can hold others, which they do not give as their source.
fn tls_inside<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = cause.downcast_ref() {
        return Some(found);
    }
    let inner = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
    tls_inside(inner)
}

/// A certificate does not become better by asking again.
fn wrong_certificate(error: &reqwest::Error) -> bool {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented, PeerIncompatible,
    };
    matches!(
        tls_error(error),
        Some(
            InvalidCertificate(_)
                | NoCertificatesPresented
                | AlertReceived(_)
                | PeerIncompatible(_)
                | InvalidMessage(_)
        )
    )
}

/// Whether the other side does not speak TLS at all: it answers with something else, or hangs up at once.
fn is_not_tls(error: &reqwest::Error) -> bool {
    if let Some(error) = tls_error(error) {
        return matches!(error, rustls::Error::InvalidMessage(_));
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            if matches!(
                error.kind(),
                UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
            ) {
                return true;
            }
        }
        source = cause.source();
    }
    false
}

/// Host and port of an address.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// An address without its query, in which signatures are, and without a password.
pub(crate) fn without_secrets(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), host_of(url), url.path())
}
