//! What is told after something happened (docker-registry's notifications, version 2).

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::SystemTime;

use transom_oci::Digest;

use crate::access::Actor;
use crate::names::{RepositoryName, Tag};

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What.
    pub action: Action,
    /// To what.
    pub target: Target,
    /// On whose demand.
    pub actor: Actor,
    /// By which request.
    pub request: Request,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A blob or manifest was read whole.
    Pull,
    /// A blob or manifest was written.
    Push,
    /// A blob was made known in a second repository.
    Mount,
    /// A blob, manifest or tag was deleted.
    Delete,
}

/// What an event is about.
#[derive(Clone, Debug)]
pub struct Target {
    /// In which repository.
    pub repository: RepositoryName,
    /// Where it was mounted from.
    pub from: Option<RepositoryName>,
    /// The digest; `None` for a deleted tag.
    pub digest: Option<Digest>,
    /// The tag by which it was asked for, pushed or deleted.
    pub tag: Option<Tag>,
    /// The media type, if it is known.
    pub media_type: Option<String>,
    /// The size in bytes, if it is known.
    pub size: Option<u64>,
    /// What a pushed manifest refers to.
    pub references: Vec<transom_oci::Descriptor>,
}

/// The request that an event comes from.
#[derive(Clone, Debug)]
pub struct Request {
    /// The id that the access log has too.
    pub id: String,
    /// Where the client is.
    pub address: SocketAddr,
    /// The name that the client called us by, with the port.
    pub host: String,
    /// Whether by TLS.
    pub secure: bool,
    /// The method.
    pub method: String,
    /// The client's `User-Agent`.
    pub user_agent: String,
}

/// Takes events.
pub trait Listener: Send + Sync + fmt::Debug + 'static {
    /// Takes an event. When the answer comes, it will be told even if the registry is killed; the client of the request is
    /// answered after that. A listener that cannot take it says so in the log: the request itself succeeded.
    fn record(&self, event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Listener for Nobody {
    fn record(&self, _event: Event) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}
