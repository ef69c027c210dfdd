//! `containerd.services.streaming.v1.Streaming`: pipes of objects that other requests refer to by id.
//!
//! A pipe that was made with a lease lives as long as that, for the collector; see `collected`.

mod collected;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use prost::Message;
use prost_types::Any;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use transom_api::streaming::StreamInit;
use transom_api::streaming::streaming_server::{self, StreamingServer};
use transom_meta::{Class, Namespace};

use super::limited;
use crate::convert::caller;
use crate::{limits, status};

/// The open pipes of a daemon. Clones are the same pipes.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    pipes: Arc<Mutex<HashMap<Key, Slot>>>,
    registered: Arc<AtomicU64>,
}

type Key = (Namespace, String);

/// A registered id.
#[derive(Debug)]
struct Slot {
    /// Which registration it is of: an id may be used again.
    number: u64,
    /// Until somebody takes it.
    pipe: Option<Pipe>,
    /// The lease that it lives and goes with.
    lease: Option<String>,
    /// Ends the client's request when it is dropped, whoever has the pipe.
    _end: oneshot::Sender<()>,
}

/// A pipe to a client. Dropping it ends the client's request.
#[derive(Debug)]
pub struct Pipe {
    /// What the client sends.
    pub incoming: Streaming<Any>,
    /// What the client is sent. It is closed when the client has gone.
    pub outgoing: mpsc::Sender<Result<Any, Status>>,
    /// Closed when the client has been sent everything, or has gone.
    pub ended: oneshot::Receiver<()>,
}

impl Pipe {
    /// Ends the pipe, and waits until the client has been sent what is in it: until `patience` is at its end at most.
    pub async fn end(self, patience: std::time::Duration) {
        drop(self.outgoing);
        let _ = tokio::time::timeout(patience, self.ended).await;
    }
}

impl Streams {
    /// The pipe of an id. It can be taken once.
    #[must_use]
    pub fn take(&self, namespace: &Namespace, id: &str) -> Option<Pipe> {
        let key = (namespace.clone(), id.to_owned());
        self.lock().get_mut(&key)?.pipe.take()
    }

    /// Ends all pipes that nobody has taken.
    pub fn end(&self) {
        self.lock().values_mut().for_each(|slot| slot.pipe = None);
    }

    fn register(&self, key: Key, mut slot: Slot) -> Result<Registration, Status> {
        slot.number = self.registered.fetch_add(1, Ordering::Relaxed);
        let number = slot.number;
        let mut pipes = self.lock();
        if pipes.contains_key(&key) {
            return Err(status::said(Class::AlreadyExists, format!("stream {:?}", key.1)));
        }
        if pipes.len() >= limits::STREAM_IDS {
            let text = format!("{} streams are open already", limits::STREAM_IDS);
            return Err(status::said(Class::ResourceExhausted, text));
        }
        pipes.insert(key.clone(), slot);
        Ok(Registration {
            streams: self.clone(),
            key,
            number,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Slot>> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id is free again when this is dropped.
#[derive(Debug)]
struct Registration {
    streams: Streams,
    key: Key,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut pipes = self.streams.lock();
        let is_its = |slot: &Slot| slot.number == self.number;
        let slot = match pipes.get(&self.key).is_some_and(is_its) {
            true => pipes.remove(&self.key),
            false => None,
        };
        // Before the slot is dropped: that wakes others.
        drop(pipes);
        drop(slot);
    }
}

/// What a client is sent, for as long as its id is registered.
#[derive(Debug)]
pub struct Outgoing {
    messages: ReceiverStream<Result<Any, Status>>,
    ended: oneshot::Receiver<()>,
    /// Dropped with the answer.
    _told: oneshot::Sender<()>,
    _registration: Registration,
}

impl Stream for Outgoing {
    type Item = Result<Any, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(message) = Pin::new(&mut self.messages).poll_next(cx) {
            return Poll::Ready(message);
        }
        // Only an end comes this way.
        Pin::new(&mut self.ended).poll(cx).map(|_| None)
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    streams: Streams,
}

impl Service {
    /// A service that puts its pipes into `streams`.
    #[must_use]
    pub fn new(streams: Streams) -> Service {
        Service { streams }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> StreamingServer<Service> {
        limited!(StreamingServer::new(self))
    }
}

#[tonic::async_trait]
impl streaming_server::Streaming for Service {
    type StreamStream = Outgoing;

    async fn stream(&self, request: Request<Streaming<Any>>) -> Result<Response<Outgoing>, Status> {
        let caller = caller(&request)?;
        let mut incoming = request.into_inner();
        let id = init(incoming.message().await?)?;
        let (outgoing, messages) = mpsc::channel(limits::STREAM_QUEUE);
        let registered = Any {
            type_url: "google.protobuf.Empty".to_owned(),
            value: Vec::new(),
        };
        // The queue is empty, so this finds room.
        let _ = outgoing.try_send(Ok(registered));
        let (end, ended) = oneshot::channel();
        let (told, done) = oneshot::channel();
        let slot = Slot {
            number: 0,
            pipe: Some(Pipe {
                incoming,
                outgoing,
                ended: done,
            }),
            lease: caller.lease,
            _end: end,
        };
        let registration = self.streams.register((caller.namespace, id), slot)?;
        Ok(Response::new(Outgoing {
            messages: ReceiverStream::new(messages),
            ended,
            _told: told,
            _registration: registration,
        }))
    }
}

/// The id in the first message.
fn init(first: Option<Any>) -> Result<String, Status> {
    let invalid = |text: String| status::said(Class::InvalidArgument, text);
    let first = first.ok_or_else(|| status::missing("a first message"))?;
    let name = first.type_url.rsplit('/').next().unwrap_or_default();
    if name != "containerd.services.streaming.v1.StreamInit" {
        return Err(invalid(format!(
            "the first message is a {name:?}, not a StreamInit"
        )));
    }
    let init = StreamInit::decode(first.value.as_slice())
        .map_err(|e| invalid(format!("the first message cannot be read: {e}")))?;
    if init.id.is_empty() || init.id.len() > limits::STREAM_ID_BYTES {
        let limit = limits::STREAM_ID_BYTES;
        return Err(invalid(format!("the stream's id must have 1 to {limit} bytes")));
    }
    Ok(init.id)
}
