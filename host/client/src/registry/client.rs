//! The settings of a client, and the connections that it keeps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use transom_oci::Descriptor;

use super::remote::Remote;
use crate::auth::authorizer::Authorizer;
use crate::auth::{CredentialSource, NoCredentials};
use crate::fetch::Flights;
use crate::hosts::{Host, Hosts};
use crate::reference::DEFAULT_REGISTRY;
use crate::transport::Endpoint;
use crate::transport::wire::Wire;
use crate::{Error, Proxies, Repository, Retry, Timeouts, limits};

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where hosts are looked up.
    pub hosts: Hosts,
    /// Where credentials come from.
    pub credentials: Arc<dyn CredentialSource>,
    /// The machine's proxies.
    pub proxies: Proxies,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How often things are tried.
    pub retry: Retry,
    /// What is sent as `User-Agent`.
    pub user_agent: String,
    /// Blobs that are fetched at once.
    pub downloads: usize,
    /// Ranges of one blob that are fetched at once; 1 for one stream.
    pub pieces: usize,
    /// Bytes of one such range.
    pub piece_bytes: u64,
    /// Bytes of ranges that all downloads may hold in memory together.
    pub memory: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            hosts: Hosts::default(),
            credentials: Arc::new(NoCredentials),
            proxies: Proxies::default(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            user_agent: concat!("transom/", env!("CARGO_PKG_VERSION")).to_owned(),
            downloads: limits::DOWNLOADS,
            pieces: limits::PIECES,
            piece_bytes: limits::PIECE_BYTES,
            memory: limits::PIECES_MEMORY,
        }
    }
}

/// A client. Cheap to clone; clones share connections, tokens and limits. Hosts are looked up once for each registry: for new
/// settings make a new client.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Options,
    registries: Mutex<HashMap<String, Vec<Arc<Endpoint>>>>,
    pub(crate) shared: Arc<Shared>,
}

/// What clients beside each other have together.
#[derive(Debug)]
pub(crate) struct Shared {
    /// In units, of which a large blob takes [`limits::DOWNLOAD_UNITS`].
    downloads: Semaphore,
    /// In units of [`MEMORY_UNIT`].
    pub(crate) memory: Arc<Semaphore>,
    pub(crate) flights: Flights,
}

impl Shared {
    fn new(options: &Options) -> Shared {
        let units = usize::try_from(options.memory / MEMORY_UNIT).unwrap_or(Semaphore::MAX_PERMITS);
        let downloads = options
            .downloads
            .clamp(1, Semaphore::MAX_PERMITS / limits::DOWNLOAD_UNITS as usize);
        Shared {
            downloads: Semaphore::new(downloads * limits::DOWNLOAD_UNITS as usize),
            memory: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            flights: Flights::default(),
        }
    }

    /// A turn to move a blob: one large one leaves as much room as some small ones, of which most of the time is delay.
    pub(crate) async fn turn(&self, blob: &Descriptor) -> Option<SemaphorePermit<'_>> {
        let units = blob.size.div_ceil(limits::DOWNLOAD_UNIT_BYTES);
        let units = u32::try_from(units).unwrap_or(limits::DOWNLOAD_UNITS);
        // Nobody closes it.
        let turn = self
            .downloads
            .acquire_many(units.clamp(1, limits::DOWNLOAD_UNITS));
        turn.await.ok()
    }
}

/// What memory is counted in: semaphores count in 32 bits.
pub(crate) const MEMORY_UNIT: u64 = 64 << 10;

impl Client {
    /// A client with these settings. Nothing is read or connected yet.
    #[must_use]
    pub fn new(options: Options) -> Client {
        let shared = Arc::new(Shared::new(&options));
        Client::with(options, shared)
    }

    /// A client with settings of its own, which shares with this one how much is fetched at once, and what is on its way: such
    /// as one with the credentials of somebody else.
    #[must_use]
    pub fn beside(&self, options: Options) -> Client {
        Client::with(options, Arc::clone(&self.inner.shared))
    }

    fn with(options: Options, shared: Arc<Shared>) -> Client {
        let inner = Inner {
            options,
            registries: Mutex::default(),
            shared,
        };
        Client {
            inner: Arc::new(inner),
        }
    }

    /// A repository.
    ///
    /// # Errors
    /// [`Error::File`] for mistakes in the settings of its hosts, [`Error::Setup`].
    pub fn remote(&self, repository: &Repository) -> Result<Remote, Error> {
        let endpoints = self.endpoints(repository.registry())?;
        Ok(Remote::new(self.clone(), repository.clone(), endpoints))
    }

    /// The way to a host. Where there is another one to ask, that is asked sooner.
    pub(super) fn wire(&self, host: &Host, has_others: bool) -> Result<Wire, Error> {
        let options = &self.inner.options;
        let mut retry = options.retry;
        if has_others {
            retry.tries = retry.tries.min(2);
        }
        Wire::new(
            host,
            &options.proxies,
            options.timeouts,
            retry,
            &options.user_agent,
        )
    }

    pub(crate) fn endpoints(&self, registry: &str) -> Result<Vec<Arc<Endpoint>>, Error> {
        let mut known = self
            .inner
            .registries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoints) = known.get(registry) {
            return Ok(endpoints.clone());
        }
        let options = &self.inner.options;
        let hosts = options.hosts.lookup(registry)?;
        let last = hosts.len().saturating_sub(1);
        let mut endpoints = Vec::with_capacity(hosts.len());
        for (index, host) in hosts.into_iter().enumerate() {
            let wire = self.wire(&host, index < last)?;
            let known_as = if host.authority == "registry-1.docker.io" {
                DEFAULT_REGISTRY.to_owned()
            } else {
                host.authority.clone()
            };
            let auth = Authorizer::new(known_as, Arc::clone(&options.credentials));
            endpoints.push(Arc::new(Endpoint::new(host, wire, auth)));
        }
        known.insert(registry.to_owned(), endpoints.clone());
        Ok(endpoints)
    }
}
