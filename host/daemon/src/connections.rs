//! Connections: HTTP/2 over the socket, many small writes gathered into few, and an orderly end.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;
use tower::Service;

use crate::limits;
use crate::rpc::Services;
use crate::socket::{Peer, Socket};

/// Answers requests of everybody who connects, until `stop`; then lets those that have begun end. Dropping it cuts them off.
///
/// # Errors
/// If no connection can be accepted any more.
pub async fn serve(services: Services, socket: &Socket, stop: impl Future<Output = ()>) -> io::Result<()> {
    let (ending, end) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(services.clone(), stream, peer, end.clone()));
                }
                Err(error) if ends(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            },
            // They say themselves how they ended.
            Some(_) = connections.join_next() => {}
            () = &mut stop => break,
        }
    }
    ending.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Whether a listener is of no use any more. Too many open files, or a client that has gone already, pass.
fn ends(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected | io::ErrorKind::Unsupported
    )
}

async fn connection(services: Services, stream: UnixStream, peer: Peer, mut end: watch::Receiver<bool>) {
    let mut end = pin!(end.wait_for(|end| *end));
    let stream = Gathered::new(stream);
    let last = stream.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        services.clone().call(request)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits::STREAMS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut ending = false;
    let ended = std::future::poll_fn(|cx| {
        if !ending && end.as_mut().poll(cx).is_ready() {
            ending = true;
            connection.as_mut().graceful_shutdown();
        }
        let polled = connection.as_mut().poll(cx);
        // Whatever all requests had to say in this turn goes out together.
        match last.end_turn(cx) {
            Poll::Ready(Err(error)) if polled.is_pending() => {
                tracing::debug!(%error, "a connection cannot be written to");
                Poll::Ready(Ok(()))
            }
            _ => polled,
        }
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

/// A stream whose writes are gathered: HTTP/2 writes frame by frame, and every write wakes the other side. What is gathered is
/// written when there is much of it, and at the end of the connection's turn.
#[derive(Clone, Debug)]
struct Gathered {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    stream: UnixStream,
    out: BytesMut,
}

impl Gathered {
    fn new(stream: UnixStream) -> Gathered {
        let out = BytesMut::new();
        Gathered {
            shared: Arc::new(Mutex::new(Shared { stream, out })),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Shared) -> T) -> T {
        work(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes what is gathered, and gives a large buffer back: the turn is over, and the next may be long in coming.
    fn end_turn(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|shared| {
            ready!(shared.write_out(cx))?;
            if shared.out.capacity() > limits::KEPT_WRITE_BYTES {
                shared.out = BytesMut::new();
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl Shared {
    fn write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
        }
        self.out.clear();
        Poll::Ready(Ok(()))
    }

    /// Takes what there is room for, and makes room first if there is none.
    fn gather(&mut self, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let all = parts.iter().map(|part| part.len()).sum::<usize>();
        if self.out.len() >= limits::GATHERED_WRITE_BYTES || all >= limits::GATHERED_WRITE_BYTES {
            ready!(self.write_out(cx))?;
        }
        // To a client that takes large frames.
        if all >= limits::GATHERED_WRITE_BYTES {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        }
        if self.out.len() + all > limits::KEPT_WRITE_BYTES {
            // At once, instead of growing with every frame.
            self.out.reserve(limits::GATHERED_WRITE_BYTES - self.out.len());
        }
        let mut taken = 0;
        for part in parts {
            let room = limits::GATHERED_WRITE_BYTES.saturating_sub(self.out.len());
            let part = &part[..part.len().min(room)];
            self.out.extend_from_slice(part);
            taken += part.len();
        }
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Gathered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|shared| Pin::new(&mut shared.stream).poll_read(cx, into))
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|shared| shared.gather(cx, &[io::IoSlice::new(from)]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|shared| shared.gather(cx, from))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: what is gathered is written at the end of the connection's turn.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|shared| {
            ready!(shared.write_out(cx))?;
            Pin::new(&mut shared.stream).poll_shutdown(cx)
        })
    }
}
