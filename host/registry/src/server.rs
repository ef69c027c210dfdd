//! Connections: accepted, spoken to by HTTP/1.1 or HTTP/2, with TLS or without, and ended when the server stops.
//!
//! `tls` reads certificates, `subject` finds the name in a client's, `patience` ends connections that stand still, `files` sends
//! files, [`admin`] is the listener for operators.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::http::kernel::Outgoing;
use crate::http::{Peer, Registry};
use crate::limits;

pub mod admin;
mod files;
mod patience;
mod subject;
mod tls;

pub use tls::{ClientCertificates, Tls, TlsError, TlsFiles};

use files::FileSender;
use patience::Patient;

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    registry: Registry,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    drain: Duration,
    protocols: Protocols,
}

/// Which versions of HTTP are spoken besides 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/2 with TLS.
    pub http2: bool,
    /// HTTP/2 without TLS, to clients that know.
    pub h2c: bool,
}

impl Default for Protocols {
    fn default() -> Protocols {
        Protocols {
            http2: true,
            h2c: true,
        }
    }
}

impl Server {
    /// Listens. Requests wait until [`serve`](Server::serve).
    ///
    /// # Errors
    /// What the system says of the address.
    pub async fn listen(
        registry: Registry,
        address: SocketAddr,
        tls: Option<Arc<Tls>>,
    ) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        Ok(Server {
            registry,
            listener,
            tls,
            drain: limits::DRAIN,
            protocols: Protocols::default(),
        })
    }

    /// The same, with another time for requests to end in when the server stops.
    #[must_use]
    pub fn with_drain(self, drain: Duration) -> Server {
        Server { drain, ..self }
    }

    /// The same, with other versions of HTTP.
    #[must_use]
    pub fn with_protocols(self, protocols: Protocols) -> Server {
        Server { protocols, ..self }
    }

    /// Where it listens; the port is the one that was taken.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until `stop`, and then those that have begun, for as long as is allowed.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let reloading = self.tls.clone().map(|tls| tokio::spawn(tls.watch()));
        let (registry, tls) = (self.registry, self.tls);
        let accept = accept(&registry, &self.listener, tls.as_ref(), self.protocols, &graceful);
        tokio::select! {
            () = accept => {}
            () = stop => {}
        }
        drop(self.listener);
        if let Some(reloading) = reloading {
            reloading.abort();
        }
        if tokio::time::timeout(self.drain, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("requests that have not ended are cut off");
        }
    }
}

async fn accept(
    registry: &Registry,
    listener: &TcpListener,
    tls: Option<&Arc<Tls>>,
    protocols: Protocols,
    graceful: &GracefulShutdown,
) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                let connection = Connection {
                    registry: registry.clone(),
                    address,
                    watcher: graceful.watcher(),
                    protocols,
                };
                let tls = tls.cloned();
                tokio::spawn(async move {
                    connection.serve(stream, tls).await;
                    drop(place);
                });
            }
            Err(error) => {
                // No file descriptor, usually: connections that end give some back.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A connection that was accepted.
struct Connection {
    registry: Registry,
    address: SocketAddr,
    watcher: Watcher,
    protocols: Protocols,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<Arc<Tls>>) {
        // Small answers must not wait for each other.
        drop(stream.set_nodelay(true));
        let mut peer = Peer {
            address: self.address,
            secure: tls.is_some(),
            certificate: None,
        };
        let Some(tls) = tls else {
            let outgoing = Outgoing::default();
            let stream = Patient::new(FileSender::new(stream, outgoing.clone()));
            return self.speak(stream, peer, Some(outgoing)).await;
        };
        let handshake = tls.acceptor().accept(Patient::new(stream));
        match tokio::time::timeout(limits::HANDSHAKE_PATIENCE, handshake).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let shown = certificates.and_then(|certificates| certificates.first());
                peer.certificate = shown.and_then(|shown| subject::of(shown)).map(Arc::from);
                self.speak(stream, peer, None).await;
            }
            Ok(Err(error)) => tracing::debug!(client = %self.address, %error, "no TLS came about"),
            Err(_) => tracing::debug!(client = %self.address, "a TLS handshake took too long"),
        }
    }

    /// Answers requests. With `files`, the stream can send files.
    async fn speak(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        files: Option<Outgoing>,
    ) {
        let peer_secure = peer.secure;
        let (registry, peer) = (self.registry, Arc::new(peer));
        let service = service_fn(move |request: Request<Incoming>| {
            let (registry, peer) = (registry.clone(), Arc::clone(&peer));
            // HTTP/2 mixes bodies in frames.
            let files = files.clone().filter(|_| request.version() <= Version::HTTP_11);
            async move {
                let mut response = registry.answer(request, &peer).await;
                if let Some(files) = files {
                    response.body_mut().send_files_by(files);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let builder = match (peer_secure, self.protocols) {
            (true, Protocols { http2: true, .. }) | (false, Protocols { h2c: true, .. }) => builder(),
            _ => builder().http1_only(),
        };
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(client = %self.address, error, "a connection broke off");
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_PATIENCE)
        .max_headers(limits::HEAD_LINES)
        .max_buf_size(limits::READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::HEAD_PATIENCE)
        .max_header_list_size(limits::HEAD_BYTES as u32)
        .max_concurrent_streams(limits::STREAMS)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW);
    builder
}
