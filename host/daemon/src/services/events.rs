//! `containerd.services.events.v1.Events`, and what events look like on the wire.

use std::sync::Arc;

use prost::Message;
use prost_types::Any;
use tonic::{Request, Response, Status};
use transom_api::events as api;
use transom_api::events::events_server::{Events, EventsServer};
use transom_api::{event, images, types};
use transom_meta::events::{Envelope, Event, EventDecoder, Exchange, Forwarded};
use transom_meta::filter::Plugins;
use transom_meta::{Class, Error};

use super::limited;
use crate::answers::{Answers, answers, send};
use crate::convert::{time, timestamp};
use crate::shutdown::Shutdown;
use crate::{headers, limits, status};

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    exchange: Exchange,
    plugins: Plugins,
    shutdown: Shutdown,
}

impl Service {
    /// A service over an exchange; filters may name `plugins`, and can look into all events that we know of.
    #[must_use]
    pub fn new(exchange: Exchange, plugins: Plugins, shutdown: Shutdown) -> Service {
        exchange.decode_with(Arc::new(Decoder));
        Service {
            exchange,
            plugins,
            shutdown,
        }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> EventsServer<Service> {
        limited!(EventsServer::new(self))
    }
}

/// Reads foreign events by their definitions.
struct Decoder;

impl EventDecoder for Decoder {
    fn field(&self, type_url: &str, value: &[u8], path: &[&str]) -> Option<String> {
        transom_api::fields::field(type_url, value, path)
    }
}

/// containerd gives these errors no class, but keeps the inner one's suffix.
fn subscription(error: &Error) -> Status {
    let inner = status::of(error);
    Status::unknown(format!("subscription error: {}", inner.message()))
}

#[tonic::async_trait]
impl Events for Service {
    async fn publish(&self, request: Request<api::PublishRequest>) -> Result<Response<()>, Status> {
        let namespace = headers::namespace(request.metadata())?;
        let request = request.into_inner();
        let event = request.event.ok_or_else(|| status::missing("event"))?;
        let published = self
            .exchange
            .publish(&namespace, &request.topic, event.type_url, event.value.into());
        published.map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }

    async fn forward(&self, request: Request<api::ForwardRequest>) -> Result<Response<()>, Status> {
        let envelope = request.into_inner().envelope;
        let envelope = envelope.ok_or_else(|| status::missing("envelope"))?;
        let event = envelope.event.ok_or_else(|| status::missing("envelope.event"))?;
        let forwarded = self.exchange.forward(Forwarded {
            timestamp: time("envelope.timestamp", envelope.timestamp)?,
            namespace: envelope.namespace,
            topic: envelope.topic,
            type_url: event.type_url,
            value: event.value.into(),
        });
        forwarded.map_err(|e| status::of(&e))?;
        Ok(Response::new(()))
    }

    type SubscribeStream = Answers<types::Envelope>;

    async fn subscribe(
        &self,
        request: Request<api::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let filters = request.into_inner().filters;
        let exchange = self.exchange.clone();
        let plugins = self.plugins.clone();
        // Plugins may take a while to read an expression.
        let subscribed = super::blocking(move || exchange.subscribe(&filters, &plugins)).await?;
        let mut events = subscribed.map_err(|e| subscription(&e))?;
        let shutdown = self.shutdown.clone();
        Ok(Response::new(answers(limits::LIST_AHEAD, |sink| async move {
            loop {
                let event = tokio::select! {
                    event = events.next() => event.map_err(|e| subscription(&e))?,
                    () = sink.closed() => return Ok(()),
                    () = shutdown.begun() => return Err(status::said(Class::Unavailable, "the daemon is stopping")),
                };
                if !send(&sink, envelope(&event)).await {
                    return Ok(());
                }
            }
        })))
    }
}

fn envelope(envelope: &Envelope) -> types::Envelope {
    types::Envelope {
        timestamp: timestamp(envelope.timestamp),
        namespace: envelope.namespace.to_string(),
        topic: envelope.topic.clone(),
        event: Some(any(&envelope.event)),
    }
}

/// The event as a message. The type URL is the bare name, which is what clients look up.
fn any(event: &Event) -> Any {
    fn of(type_url: &str, message: &impl Message) -> Any {
        Any {
            type_url: type_url.to_owned(),
            value: message.encode_to_vec(),
        }
    }
    match event.clone() {
        Event::ImageCreate { name, labels } => of(
            "containerd.services.images.v1.ImageCreate",
            &images::ImageCreate { name, labels },
        ),
        Event::ImageUpdate { name, labels } => of(
            "containerd.services.images.v1.ImageUpdate",
            &images::ImageUpdate { name, labels },
        ),
        Event::ImageDelete { name } => of(
            "containerd.services.images.v1.ImageDelete",
            &images::ImageDelete { name },
        ),
        Event::ContentCreate { digest, size } => {
            let media_type = String::new();
            of(
                "containerd.events.ContentCreate",
                &event::ContentCreate {
                    digest,
                    size,
                    media_type,
                },
            )
        }
        Event::ContentDelete { digest } => of(
            "containerd.events.ContentDelete",
            &event::ContentDelete { digest },
        ),
        Event::NamespaceCreate { name, labels } => of(
            "containerd.events.NamespaceCreate",
            &event::NamespaceCreate { name, labels },
        ),
        Event::NamespaceUpdate { name, labels } => of(
            "containerd.events.NamespaceUpdate",
            &event::NamespaceUpdate { name, labels },
        ),
        Event::NamespaceDelete { name } => of(
            "containerd.events.NamespaceDelete",
            &event::NamespaceDelete { name },
        ),
        Event::SnapshotPrepare {
            key,
            parent,
            snapshotter,
        } => of(
            "containerd.events.SnapshotPrepare",
            &event::SnapshotPrepare {
                key,
                parent,
                snapshotter,
            },
        ),
        Event::SnapshotCommit {
            key,
            name,
            snapshotter,
        } => of(
            "containerd.events.SnapshotCommit",
            &event::SnapshotCommit {
                key,
                name,
                snapshotter,
            },
        ),
        Event::SnapshotRemove { key, snapshotter } => of(
            "containerd.events.SnapshotRemove",
            &event::SnapshotRemove { key, snapshotter },
        ),
        Event::Foreign { type_url, value } => Any {
            type_url,
            value: value.into(),
        },
    }
}
