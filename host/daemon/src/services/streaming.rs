//! `containerd.services.streaming.v1.Streaming`: pipes of objects that other requests refer to by id.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use prost::Message;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use transom_api::streaming::StreamInit;
use transom_api::streaming::streaming_server::{self, StreamingServer};
use transom_meta::{Class, Namespace};

use super::limited;
use crate::{headers, limits, status};

/// The open pipes of a daemon. Clones are the same pipes.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    pipes: Arc<Mutex<HashMap<Key, Slot>>>,
}

type Key = (Namespace, String);

/// A registered id, and its pipe until somebody takes it.
type Slot = Option<Pipe>;

/// A pipe to a client. Dropping it ends the client's request.
#[derive(Debug)]
pub struct Pipe {
    /// What the client sends.
    pub incoming: Streaming<Any>,
    /// What the client is sent. It is closed when the client has gone.
    pub outgoing: mpsc::Sender<Result<Any, Status>>,
}

impl Streams {
    /// The pipe of an id. It can be taken once.
    #[must_use]
    pub fn take(&self, namespace: &Namespace, id: &str) -> Option<Pipe> {
        let key = (namespace.clone(), id.to_owned());
        self.lock().get_mut(&key)?.take()
    }

    /// Ends all pipes that nobody has taken.
    pub fn end(&self) {
        self.lock().values_mut().for_each(|slot| *slot = None);
    }

    fn register(&self, key: Key, pipe: Pipe) -> Result<Registration, Status> {
        let mut pipes = self.lock();
        if pipes.contains_key(&key) {
            return Err(status::said(Class::AlreadyExists, format!("stream {:?}", key.1)));
        }
        if pipes.len() >= limits::STREAM_IDS {
            let text = format!("{} streams are open already", limits::STREAM_IDS);
            return Err(status::said(Class::ResourceExhausted, text));
        }
        pipes.insert(key.clone(), Some(pipe));
        Ok(Registration {
            streams: self.clone(),
            key,
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
}

impl Drop for Registration {
    fn drop(&mut self) {
        let pipe = self.streams.lock().remove(&self.key);
        // After the lock is gone: dropping a pipe wakes others.
        drop(pipe);
    }
}

/// What a client is sent, for as long as its id is registered.
#[derive(Debug)]
pub struct Outgoing {
    messages: ReceiverStream<Result<Any, Status>>,
    _registration: Registration,
}

impl Stream for Outgoing {
    type Item = Result<Any, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.messages).poll_next(cx)
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
        let namespace = headers::namespace(request.metadata())?;
        let mut incoming = request.into_inner();
        let id = init(incoming.message().await?)?;
        let (outgoing, messages) = mpsc::channel(limits::STREAM_QUEUE);
        let registered = Any {
            type_url: "google.protobuf.Empty".to_owned(),
            value: Vec::new(),
        };
        // The queue is empty, so this finds room.
        let _ = outgoing.try_send(Ok(registered));
        let pipe = Pipe { incoming, outgoing };
        let registration = self.streams.register((namespace, id), pipe)?;
        Ok(Response::new(Outgoing {
            messages: ReceiverStream::new(messages),
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
