//! The daemon as a whole: opened, served, stopped.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use transom_content::Store;
use transom_diff::{Ahead, Differs, Walking};
use transom_meta::filter;
use transom_meta::gc::{Scheduler, Settings};
use transom_meta::images::Admission;
use transom_meta::kv::Kv;
use transom_meta::{Metadata, Options, kv};
use transom_registry::run::Running;
use transom_sys::mount::TempMounts;
use transom_transfer::Transfers;
use transom_transfer::unpack::{DifferApplier, Unpacker};

use crate::blobs;
use crate::config::{Config, Gc};
use crate::connections;
use crate::identity::Identity;
use crate::lock::Lock;
use crate::metrics::{Metrics, http};
use crate::notify::Notify;
use crate::parts::Part;
use crate::plugins::Live;
use crate::reload::Reloading;
use crate::rpc::{Builder, Services};
use crate::services::content::backend::Backend;
use crate::services::streaming::Streams;
use crate::services::transfer::registries::Registries;
use crate::services::{
    content, diff, events, health, images, introspection, leases, namespaces, plugins, snapshots, streaming,
    transfer, version,
};
use crate::shutdown::Shutdown;
use crate::snapshotters;
use crate::socket::Socket;
use crate::traces::Traces;
use crate::{Failure, lock, parts, places, registry, unpacked};

/// A daemon that has opened its stores and listens.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    services: Services,
    /// Where there are records.
    collector: Option<Arc<Scheduler>>,
    socket: Socket,
    listener: Option<TcpListener>,
    registry: Option<Running>,
    metrics: Metrics,
    traces: Traces,
    streams: Streams,
    plugins: Live,
    shutdown: Shutdown,
    /// Dropped last: then the next daemon may come.
    _lock: Lock,
}

impl Daemon {
    /// Takes the root, opens the stores and listens. Requests wait until [`serve`](Daemon::serve).
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open(config: Config, shutdown: Shutdown) -> Result<Daemon, Failure> {
        Daemon::open_with(config, shutdown, Reloading::default()).await
    }

    /// The same with a configuration that can be read again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open_with(
        mut config: Config,
        shutdown: Shutdown,
        reloading: Reloading,
    ) -> Result<Daemon, Failure> {
        let lock = Lock::take(&config.root)?;
        let proxied = config.proxy_backend;
        if places::used_otherwise(&config.root, proxied) {
            let root = config.root.clone();
            return Err(Failure::OtherUse {
                root,
                proxied: !proxied,
            });
        }
        lock::folder(&config.state, 0o711)?;
        let metrics = Metrics::default();
        let plugins = Live::new(&config, &metrics, reloading);
        metrics.plugins(plugins.shelf().clone());
        let listener = match config.metrics {
            Some(address) => Some(http::listen(address).await?),
            None => None,
        };
        // The port that was taken is told to whoever asks what the daemon is made of.
        let taken = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        config.metrics = taken.or(config.metrics);
        let store = blobs::open(&config, &plugins).await?;
        tidy(store.clone());
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
            plugins: plugins.clone(),
        };
        let Opened {
            services,
            collector,
            registry,
        } = opening.services(store).await?;
        let socket = Socket::listen(&config.socket_path(), &config.socket)?;
        Ok(Daemon {
            config,
            services,
            collector,
            socket,
            listener,
            registry,
            metrics,
            traces,
            streams,
            plugins,
            shutdown,
            _lock: lock,
        })
    }

    /// All services, to be asked without a socket.
    #[must_use]
    pub fn services(&self) -> Services {
        self.services.clone()
    }

    /// The plugins, to be changed without a socket.
    #[must_use]
    pub fn plugins(&self) -> &Live {
        &self.plugins
    }

    /// Where metrics are served; the port is the one that was taken.
    #[must_use]
    pub fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Where the registry is served; the port is the one that was taken.
    #[must_use]
    pub fn registry_address(&self) -> Option<std::net::SocketAddr> {
        self.registry.as_ref()?.address().ok()
    }

    /// Answers requests until the shutdown begins, and then those that have begun, for as long as the configuration allows.
    ///
    /// # Errors
    /// [`Failure::Server`].
    pub async fn serve(self, notify: &Notify) -> Result<(), Failure> {
        let registry = self.registry_address().map(tracing::field::display);
        tracing::info!(
            root = %self.config.root.display(),
            address = %self.config.socket_path().display(),
            registry,
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
        let mut registry = JoinSet::new();
        if let Some(running) = self.registry {
            let shutdown = self.shutdown.clone();
            registry.spawn(running.serve(async move { shutdown.begun().await }));
        }
        let server = async {
            let served = connections::serve(self.services, &self.socket, stop).await;
            while registry.join_next().await.is_some() {}
            served
        };
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

/// What was opened.
struct Opened {
    services: Services,
    collector: Option<Arc<Scheduler>>,
    registry: Option<Running>,
}

/// What the services are made of.
struct Opening<'c> {
    config: &'c Config,
    identity: Identity,
    metrics: Metrics,
    traces: Traces,
    shutdown: Shutdown,
    streams: Streams,
    plugins: Live,
}

impl Opening<'_> {
    async fn services(self, store: Store) -> Result<Opened, Failure> {
        let builder = Builder::default()
            .service(version::Service.server())
            .service(health::Service::new(self.shutdown.clone()).server());
        let builder = builder.service(plugins::Service::new(self.plugins.clone()).server());
        let layers = self.layers().await?;
        let (builder, collector, registry) = if self.config.proxy_backend {
            let (builder, registry) = self.proxied(builder, store, layers).await?;
            (builder, None, registry)
        } else {
            let (builder, collector, registry) = self.whole(builder, store, layers).await?;
            (builder, Some(collector), registry)
        };
        Ok(Opened {
            services: builder.build(self.metrics.clone(), self.traces.clone()),
            collector,
            registry,
        })
    }

    /// The registry, if there is to be one; it is among the parts.
    async fn registry(
        &self,
        metadata: Option<&Metadata>,
        filters: &filter::Plugins,
        parts: &mut Vec<Part>,
    ) -> Result<Option<Running>, Failure> {
        let Some(settings) = &self.config.registry else {
            return Ok(None);
        };
        if metadata.is_none() && !settings.namespaces.is_empty() {
            return Err(Failure::NoImages);
        }
        let factory = self.plugins.factory("[registry.storage]");
        let running = registry::open(settings, &self.config.root, &factory, metadata, filters).await?;
        self.plugins.follow(running.admission()).await;
        self.metrics.also(|counters| running.register(counters));
        parts.push(registry::part(settings, running.address().ok()));
        Ok(Some(running))
    }

    /// The content, the differ and the snapshots of a containerd, which keeps all other records itself.
    async fn proxied(
        &self,
        builder: Builder,
        store: Store,
        Layers { differs, ahead }: Layers,
    ) -> Result<(Builder, Option<Running>), Failure> {
        if !self.config.admission.policies.is_empty() {
            return Err(Failure::NoAdmission);
        }
        self.plugins.begin(None).await?;
        let kv = open_kv(self.config, places::proxy_metadata(&self.config.root)).await?;
        let loaded = snapshotters::load(self.config, &kv).await;
        snapshotters::tidy(&loaded);
        let mut parts = loaded.parts;
        let default = self.config.snapshots.default.name();
        let flat = snapshots::backend::Flat::new(loaded.working, default);
        let snapshots = snapshots::backend::Backend::flat(flat);
        let registry = self
            .registry(None, &self.plugins.shelf().filters(), &mut parts)
            .await?;
        let parts = parts::of_proxy(self.config, parts);
        let introspection =
            introspection::Service::new(self.identity.clone(), parts, self.plugins.shelf().clone());
        let backend = Backend::flat(store);
        let address = self.config.diff.content_address.as_deref();
        let content = diff::content::Content::behind(backend.clone(), address);
        let at_once = self.config.limits.diffs;
        let builder = builder
            .service(introspection.server())
            .service(self.content(backend, ahead).server())
            .service(diff::Service::new(differs, content, at_once).server())
            .service(snapshots::Service::new(snapshots).server());
        Ok((builder, registry))
    }

    fn content(&self, backend: Backend, ahead: Option<Ahead>) -> content::Service {
        content::Service::new(
            backend,
            &self.config.limits,
            self.metrics.clone(),
            self.shutdown.clone(),
            ahead,
        )
    }

    async fn whole(
        &self,
        builder: Builder,
        store: Store,
        Layers { differs, ahead }: Layers,
    ) -> Result<(Builder, Arc<Scheduler>, Option<Running>), Failure> {
        let plugins = self.plugins.shelf().filters();
        let admission: Arc<dyn Admission> = Arc::new(self.plugins.verifiers().clone());
        let metadata = open_metadata(self.config, store, plugins.clone(), admission).await?;
        self.plugins.begin(Some(&metadata)).await?;
        self.metrics.records(metadata.clone());
        metadata.register(Arc::new(self.streams.clone()));
        // Before anything is collected.
        let loaded = snapshotters::load(self.config, metadata.kv()).await;
        snapshotters::add(&metadata, &loaded).await?;
        let mut parts = loaded.parts;
        let unpacker = unpacker(&differs, &metadata);
        let seals = snapshots::seals::Seals::new(metadata.clone(), unpacker.clone());
        let verifiers = self.plugins.verifiers().verifiers();
        let transfers = Transfers::new(metadata.clone(), Some(unpacker))
            .verified_by(verifiers)
            .unpacking_ahead(ahead.clone());
        let registries = Registries::new(&self.config.transfer);
        let collector = Arc::new(Scheduler::start(metadata.clone(), settings(&self.config.gc)));
        let registry = self.registry(Some(&metadata), &plugins, &mut parts).await?;
        let parts = parts::of_daemon(self.config, parts);
        let introspection =
            introspection::Service::new(self.identity.clone(), parts, self.plugins.shelf().clone());
        let backend = Backend::whole(metadata.clone(), plugins.clone());
        let blobs = diff::content::Content::Here(backend.clone());
        let diff = diff::Service::new(differs, blobs, self.config.limits.diffs);
        let diff = diff.recording(metadata.clone());
        let content = self.content(backend, ahead);
        let snapshots = snapshots::backend::Backend::whole(metadata.clone(), plugins.clone());
        let events = events::Service::new(metadata.events().clone(), plugins, self.shutdown.clone());
        let builder = builder
            .service(introspection.server())
            .service(events.server())
            .service(content.server())
            .service(diff.server())
            .service(snapshots::Service::new(snapshots).asking(seals).server())
            .service(namespaces::Service::new(metadata.clone()).server())
            .service(images::Service::new(metadata.clone(), Arc::clone(&collector)).server())
            .service(leases::Service::new(metadata, Arc::clone(&collector)).server())
            .service(streaming::Service::new(self.streams.clone()).server())
            .service(transfer::Service::new(transfers, self.streams.clone(), registries).server());
        Ok((builder, collector, registry))
    }

    /// The differs, and the folder for their mounts, where a crash may have left some.
    async fn layers(&self) -> Result<Layers, Failure> {
        let settings = self.plugins.settings().clone();
        let folder = places::mounts(&self.config.root);
        let (config, live) = (self.config.clone(), settings.clone());
        let open = move || {
            let temp = TempMounts::new(&folder)?;
            for kept in temp.clean()? {
                tracing::warn!(error = %kept, "could not remove what a crash left");
            }
            Ok::<_, Failure>((temp, unpacked::open(&config, live)))
        };
        let (temp, ahead) = joined(tokio::task::spawn_blocking(open).await)?;
        if let Some(ahead) = &ahead {
            self.metrics.ahead(ahead.clone());
            unpacked::tidy(ahead.clone());
        }
        let walking = Walking::new(settings, temp).with_ahead(ahead.clone());
        // There is but one, which the configuration has checked.
        let differs = Differs::new(vec![Arc::new(walking)]);
        Ok(Layers { differs, ahead })
    }
}

/// Who unpacks layers, when they are asked and before that.
struct Layers {
    differs: Differs,
    ahead: Option<Ahead>,
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

/// The same differs unpack, and say what may be used that is unpacked.
fn unpacker(differs: &Differs, metadata: &Metadata) -> Unpacker {
    let differ = Arc::new(DifferApplier::new(differs.clone(), metadata.clone()));
    let snapshots = Arc::new(metadata.clone());
    Unpacker::new(snapshots, differ.clone(), differ, Unpacker::at_once())
}

fn joined<T>(task: Result<T, tokio::task::JoinError>) -> T {
    // Nothing cancels a blocking task, so that it has panicked if it has no result.
    task.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

async fn open_kv(config: &Config, folder: PathBuf) -> Result<Arc<dyn Kv>, Failure> {
    let kind = config.metadata.store;
    // Reading a store's files may take a while.
    let opened = joined(tokio::task::spawn_blocking(move || kv::open(kind, &folder)).await);
    Ok(opened.map_err(transom_meta::Error::from)?)
}

async fn open_metadata(
    config: &Config,
    store: Store,
    plugins: filter::Plugins,
    admission: Arc<dyn Admission>,
) -> Result<Metadata, Failure> {
    let kv = open_kv(config, places::metadata(&config.root)).await?;
    let options = Options {
        sharing: config.metadata.sharing,
        grace: config.metadata.grace,
        ingest_expiry: config.metadata.ingest_expiry,
        plugins,
        admission: Some(admission),
    };
    Ok(Metadata::open(kv, store, options).await?)
}
