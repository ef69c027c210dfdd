//! The daemon as a whole: opened, served, stopped.

use std::sync::Arc;

use tokio::net::TcpListener;
use tonic::transport::Server;
use transom_content::Store;
use transom_meta::filter::Plugins;
use transom_meta::gc::{Scheduler, Settings};
use transom_meta::{Metadata, Options, kv};

use crate::config::{Config, Gc};
use crate::filters::{self, Loaded};
use crate::identity::Identity;
use crate::lock::Lock;
use crate::metrics::{Metrics, http};
use crate::notify::Notify;
use crate::rpc::{Builder, Services};
use crate::services::content::backend::Backend;
use crate::services::streaming::Streams;
use crate::services::{
    content, events, health, images, introspection, leases, namespaces, streaming, version,
};
use crate::shutdown::Shutdown;
use crate::socket::Socket;
use crate::traces::Traces;
use crate::{Failure, limits, lock, parts, places};

/// A daemon that has opened its stores and listens.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    services: Services,
    /// Where there are records.
    collector: Option<Arc<Scheduler>>,
    socket: Socket,
    listener: Option<TcpListener>,
    metrics: Metrics,
    traces: Traces,
    streams: Streams,
    shutdown: Shutdown,
    /// Dropped last: then the next daemon may come.
    _lock: Lock,
}

impl Daemon {
    /// Takes the root, opens the stores and listens. Requests wait until [`serve`](Daemon::serve).
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open(mut config: Config, shutdown: Shutdown) -> Result<Daemon, Failure> {
        let lock = Lock::take(&config.root)?;
        lock::folder(&config.state, 0o711)?;
        let listener = match config.metrics {
            Some(address) => Some(http::listen(address).await?),
            None => None,
        };
        // The port that was taken is told to whoever asks what the daemon is made of.
        let taken = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        config.metrics = taken.or(config.metrics);
        let store = Store::open(transom_content::content_root(&config.root))?;
        tidy(store.clone());
        let metrics = Metrics::default();
        let streams = Streams::default();
        let identity = Identity::of(&config.root)?;
        let traces = Traces::new(&config.traces, &identity.uuid)?;
        let opening = Opening {
            config: &config,
            identity,
            metrics: metrics.clone(),
            traces: traces.clone(),
            shutdown: shutdown.clone(),
            streams: streams.clone(),
        };
        let (services, collector) = opening.services(store).await?;
        let socket = Socket::listen(&config.socket_path(), &config.socket)?;
        Ok(Daemon {
            config,
            services,
            collector,
            socket,
            listener,
            metrics,
            traces,
            streams,
            shutdown,
            _lock: lock,
        })
    }

    /// All services, to be asked without a socket.
    #[must_use]
    pub fn services(&self) -> Services {
        self.services.clone()
    }

    /// Where metrics are served; the port is the one that was taken.
    #[must_use]
    pub fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Answers requests until the shutdown begins, and then those that have begun, for as long as the configuration allows.
    ///
    /// # Errors
    /// [`Failure::Server`].
    pub async fn serve(self, notify: &Notify) -> Result<(), Failure> {
        tracing::info!(
            root = %self.config.root.display(),
            address = %self.config.socket_path().display(),
            pid = std::process::id(),
            "serving"
        );
        let metrics = self
            .listener
            .map(|listener| tokio::spawn(http::serve(listener, self.metrics)));
        let stop = async {
            self.shutdown.begun().await;
            tracing::info!("stopping");
            notify.stopping();
            self.streams.end();
        };
        let server = Server::builder()
            .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(limits::STREAMS)
            .serve_with_incoming_shutdown(self.services, self.socket, stop);
        notify.ready();
        let deadline = async {
            self.shutdown.begun().await;
            tokio::time::sleep(self.config.shutdown_timeout).await;
        };
        let served = tokio::select! {
            served = server => served,
            () = deadline => {
                tracing::warn!("requests that have not ended are cut off");
                Ok(())
            }
        };
        if let Some(metrics) = metrics {
            metrics.abort();
        }
        let traces = self.traces;
        joined(tokio::task::spawn_blocking(move || traces.end()).await);
        // Requests that were cut off may still have it; then a collection ends with the process.
        if let Some(collector) = self.collector.and_then(Arc::into_inner) {
            collector.stop().await;
        }
        served.map_err(Failure::Server)
    }
}

/// Removes what a crash left of ingests, beside the first requests.
fn tidy(store: Store) {
    tokio::task::spawn_blocking(move || match store.sweep(std::time::Duration::ZERO) {
        Ok(report) => tracing::debug!(?report, "looked for what a crash left"),
        Err(error) => tracing::warn!(%error, "could not remove what a crash left"),
    });
}

/// What the services are made of.
struct Opening<'c> {
    config: &'c Config,
    identity: Identity,
    metrics: Metrics,
    traces: Traces,
    shutdown: Shutdown,
    streams: Streams,
}

impl Opening<'_> {
    async fn services(self, store: Store) -> Result<(Services, Option<Arc<Scheduler>>), Failure> {
        let builder = Builder::default()
            .service(version::Service.server())
            .service(health::Service::new(self.shutdown.clone()).server());
        let (builder, collector) = if self.config.proxy_backend {
            (self.proxied(builder, store), None)
        } else {
            let (builder, collector) = self.whole(builder, store).await?;
            (builder, Some(collector))
        };
        Ok((
            builder.build(self.metrics.clone(), self.traces.clone()),
            collector,
        ))
    }

    /// The content of a containerd, which keeps all records itself.
    fn proxied(&self, builder: Builder, store: Store) -> Builder {
        let parts = parts::of_proxy(self.config);
        let introspection = introspection::Service::new(self.identity.clone(), parts, Plugins::default());
        builder
            .service(introspection.server())
            .service(self.content(Backend::flat(store)).server())
    }

    fn content(&self, backend: Backend) -> content::Service {
        content::Service::new(
            backend,
            &self.config.limits,
            self.metrics.clone(),
            self.shutdown.clone(),
        )
    }

    async fn whole(&self, builder: Builder, store: Store) -> Result<(Builder, Arc<Scheduler>), Failure> {
        let Loaded {
            plugins,
            parts: filters,
        } = self.filters().await;
        let metadata = open_metadata(self.config, store, plugins.clone()).await?;
        self.metrics.records(metadata.clone());
        let collector = Arc::new(Scheduler::start(metadata.clone(), settings(&self.config.gc)));
        let parts = parts::of_daemon(self.config, filters);
        let introspection = introspection::Service::new(self.identity.clone(), parts, plugins.clone());
        let content = self.content(Backend::whole(metadata.clone(), plugins.clone()));
        let events = events::Service::new(metadata.events().clone(), plugins, self.shutdown.clone());
        let builder = builder
            .service(introspection.server())
            .service(events.server())
            .service(content.server())
            .service(namespaces::Service::new(metadata.clone()).server())
            .service(images::Service::new(metadata.clone(), Arc::clone(&collector)).server())
            .service(leases::Service::new(metadata, Arc::clone(&collector)).server())
            .service(streaming::Service::new(self.streams.clone()).server());
        Ok((builder, collector))
    }

    async fn filters(&self) -> Loaded {
        let (folders, root) = (self.config.filters.clone(), self.config.root.clone());
        let metrics = self.metrics.clone();
        joined(tokio::task::spawn_blocking(move || filters::load(&folders, &root, &metrics)).await)
    }
}

fn settings(gc: &Gc) -> Settings {
    Settings {
        pause_threshold: gc.pause_threshold,
        deletion_threshold: gc.deletion_threshold,
        mutation_threshold: gc.mutation_threshold,
        schedule_delay: gc.schedule_delay,
        startup_delay: gc.startup_delay,
    }
}

fn joined<T>(task: Result<T, tokio::task::JoinError>) -> T {
    // Nothing cancels a blocking task, so that it has panicked if it has no result.
    task.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

async fn open_metadata(config: &Config, store: Store, plugins: Plugins) -> Result<Metadata, Failure> {
    let (kind, folder) = (config.metadata.store, places::metadata(&config.root));
    // Reading a store's files may take a while.
    let opened = joined(tokio::task::spawn_blocking(move || kv::open(kind, &folder)).await);
    let kv = opened.map_err(transom_meta::Error::from)?;
    let options = Options {
        sharing: config.metadata.sharing,
        grace: config.metadata.grace,
        ingest_expiry: config.metadata.ingest_expiry,
        plugins,
    };
    Ok(Metadata::open(kv, store, options).await?)
}
