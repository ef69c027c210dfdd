//! A registry as it is configured: opened, served, stopped. `transom registry serve` is this and a log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry as Counters;
use tokio::net::TcpListener;
use transom_meta::filter::Plugins;
use transom_meta::kv;
use transom_storage::{Factory, StorageDriver};

use crate::access::Gate;
use crate::admission::Admission;
use crate::auth;
use crate::config::Config;
use crate::event::{Listener, Nobody};
use crate::http::{Registry, Settings};
use crate::index;
use crate::instance;
use crate::metrics::{self, Metrics};
use crate::notify::{self, Notifier};
use crate::proxy::{self, Proxies};
use crate::server::admin::Admin;
use crate::server::{Protocols, Server, Tls, TlsError};
use crate::settings::SetupError;
use crate::source::Source;
use crate::store::{Collection, Store};

/// Why a registry cannot be served as it is configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The driver.
    #[error("[storage]: {0}")]
    Storage(#[from] transom_storage::factory::ConfigError),
    /// Authentication, the policy, a header.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// TLS.
    #[error("[http.tls]: {0}")]
    Tls(#[from] TlsError),
    /// Notifications.
    #[error("[[notifications]]: {0}")]
    Notifications(#[from] notify::OpenError),
    /// The store of events that wait, or the index.
    #[error("state: {0}")]
    State(#[from] kv::KvError),
    /// An address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A registry that listens.
#[derive(Debug)]
pub struct Running {
    registry: Registry,
    server: Server,
    admin: Option<(TcpListener, Counters)>,
    notifier: Option<Arc<Notifier>>,
    uploads: Option<(Duration, Duration)>,
    gc: Option<(Collection, Duration)>,
    proxies: Option<Evicting>,
    counted: Counted,
    index: Option<index::Place>,
    admission: Admission,
}

/// Everything that is counted.
#[derive(Debug)]
struct Counted {
    http: Metrics,
    proxy: proxy::Metrics,
    store: Store,
    notifier: Option<Arc<Notifier>>,
}

impl Counted {
    fn register(&self, counters: &mut Counters) {
        self.http.register(counters);
        self.proxy.register(counters);
        metrics::states(counters, self.store.clone(), self.notifier.clone());
    }
}

/// A cache whose content goes with time, and how garbage is collected after that, where it is not collected anyway.
type Evicting = (Proxies, Option<Collection>);

impl Running {
    /// Opens everything and listens. Requests wait until [`serve`](Running::serve).
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn open(config: &Config, factory: &Factory) -> Result<Running, RunError> {
        Running::open_with(config, factory, Vec::new(), &Plugins::default()).await
    }

    /// The same with repositories that others have, who are asked before the caches of the configuration:
    /// these have what the others do not; and with the filter plugins that policies are written for.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn open_with(
        config: &Config,
        factory: &Factory,
        mut sources: Vec<Arc<dyn Source>>,
        filters: &Plugins,
    ) -> Result<Running, RunError> {
        let driver: Arc<dyn StorageDriver> = factory.open(&config.storage)?;
        let gate: Arc<dyn Gate> = auth::gate(&config.auth, config.policy.as_ref())?;
        let open = config.auth == auth::Settings::default() && config.policy.is_none();
        if open && !config.read_only && !config.http.listen.ip().is_loopback() {
            tracing::warn!(
                address = %config.http.listen,
                "everybody who reaches this address may push and delete; see [auth]"
            );
        }
        let options = config.options(open);
        let notifier = notifier(config).await?;
        let listener: Arc<dyn Listener> = match &notifier {
            Some(notifier) => Arc::clone(notifier) as Arc<dyn Listener>,
            None => Arc::new(Nobody),
        };
        let store = Store::new(driver, options);
        let counted = Counted {
            http: Metrics::default(),
            proxy: proxy::Metrics::default(),
            store: store.clone(),
            notifier: notifier.clone(),
        };
        let index = config.index()?;
        if let Some(place) = index.as_ref().filter(|place| place.only_writer()) {
            // Every change is to be seen. An index that is in use says that somebody else writes, too.
            store.use_index(place.open().await?);
        }
        let proxies = proxies(config, &store, &counted.proxy)?;
        sources.extend(
            proxies
                .iter()
                .map(|(proxies, _)| Arc::new(proxies.clone()) as Arc<dyn Source>),
        );
        let metrics = counted.http.clone();
        let settings = of_http(config, filters)?;
        let admission = settings.admission.clone();
        let registry = Registry::with_sources(store, sources, gate, listener, settings, metrics);
        registry.set_read_only(config.read_only);
        Ok(Running {
            server: listen(config, &registry).await?,
            admin: admin(config, &counted).await?,
            counted,
            uploads: config.uploads(),
            gc: Some((config.gc.collection(false), config.gc.every.0)).filter(|(_, every)| !every.is_zero()),
            registry,
            notifier,
            proxies,
            index,
            admission,
        })
    }

    /// What is asked before anything is taken that is pushed, so that its policies can be read again.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.admission.clone()
    }

    /// Gives everything that is counted its name in `counters`, besides in those of its own listener for operators.
    pub fn register(&self, counters: &mut Counters) {
        self.counted.register(counters);
    }

    /// Has its own listener for operators show what somebody else counts and gives names.
    pub fn also(&mut self, register: impl FnOnce(&mut Counters)) {
        if let Some((_, counters)) = &mut self.admin {
            register(counters);
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.server.address()
    }

    /// Where operators are listened to.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        let (listener, _) = self.admin.as_ref()?;
        listener.local_addr().ok()
    }

    /// Answers requests until `stop`, and then those that have begun.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let registry = self.registry.clone();
        let operators = |counters| Admin::new(registry, Arc::new(counters));
        let admin = self
            .admin
            .map(|(listener, counters)| tokio::spawn(operators(counters).serve(listener)));
        let store = self.registry.store().clone();
        let purging = self
            .uploads
            .map(|(after, every)| tokio::spawn(store.purge_uploads_for_ever(after, every)));
        let store = self.registry.store().clone();
        let collecting = self
            .gc
            .map(|(collection, every)| tokio::spawn(store.collect_for_ever(collection, every)));
        let evicting = self
            .proxies
            .map(|(proxies, collection)| tokio::spawn(proxies.evict_for_ever(collection)));
        let store = self.registry.store().clone();
        let indexing = self.index.map(|place| tokio::spawn(keep_index(store, place)));
        self.server.serve(stop).await;
        let tasks = admin.into_iter().chain(purging).chain(collecting);
        for task in tasks.chain(evicting).chain(indexing) {
            task.abort();
        }
        if let Some(notifier) = self.notifier {
            notifier.stop().await;
        }
    }
}

/// What requests go by.
fn of_http(config: &Config, filters: &Plugins) -> Result<Settings, SetupError> {
    Ok(Settings {
        delete: config.delete.enabled,
        redirect: config.http.redirect,
        origin: config.http.host.clone(),
        relative_urls: config.http.relative_urls,
        headers: config.headers()?,
        tags_page: config.limits.tags_page,
        catalog_page: config.limits.catalog_page,
        admission: Admission::new(&config.admission, filters)?,
    })
}

/// The cache of other registries, if there are some.
fn proxies(config: &Config, store: &Store, metrics: &proxy::Metrics) -> Result<Option<Evicting>, SetupError> {
    if config.proxy.is_empty() {
        return Ok(None);
    }
    let folder = config.state.as_ref().map(|state| state.join(proxy::ARRIVING));
    let proxies = Proxies::new(&config.proxy, store.clone(), folder, metrics.clone())?;
    let collection = config.gc.every.0.is_zero().then(|| config.gc.collection(false));
    Ok(Some((proxies, collection)))
}

/// Opens the index, if it is not open yet, and builds it, while requests are answered.
async fn keep_index(store: Store, place: index::Place) {
    if store.index().is_none() {
        match place.open().await {
            Ok(index) => store.use_index(index),
            Err(error) => {
                let folder = place.folder.display();
                tracing::warn!(%folder, %error, "there is no index: lists walk the storage");
                return;
            }
        }
    }
    store.keep_index().await;
}

async fn listen(config: &Config, registry: &Registry) -> Result<Server, RunError> {
    let tls = config.tls().map(Tls::open).transpose()?.map(Arc::new);
    let address = config.http.listen;
    let listening = Server::listen(registry.clone(), address, tls).await;
    let server = listening.map_err(|source| RunError::Listen { address, source })?;
    let protocols = Protocols {
        http2: config.http.http2,
        h2c: config.http.h2c,
    };
    Ok(server.with_drain(config.http.drain.0).with_protocols(protocols))
}

async fn admin(config: &Config, counted: &Counted) -> Result<Option<(TcpListener, Counters)>, RunError> {
    let Some(metrics) = &config.metrics else {
        return Ok(None);
    };
    let address = metrics.listen;
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| RunError::Listen { address, source })?;
    let mut counters = Counters::default();
    counted.register(&mut counters);
    Ok(Some((listener, counters)))
}

/// Who tells events, if somebody is to be told.
async fn notifier(config: &Config) -> Result<Option<Arc<Notifier>>, RunError> {
    if config.notifications.is_empty() {
        return Ok(None);
    }
    let Some(state) = &config.state else {
        let problem = "[[notifications]] needs it: the folder where events wait, also across a restart";
        return Err(SetupError::setting("state", problem).into());
    };
    let kv = kv::open(kv::Kind::default(), state)?;
    let source = notify::Source {
        address: config
            .http
            .host
            .clone()
            .unwrap_or_else(|| config.http.listen.to_string()),
        instance: instance::id().to_owned(),
    };
    let notifier = Notifier::open(&config.notifications, kv, source).await?;
    Ok(Some(Arc::new(notifier)))
}
