//! The plugins of a registry that is served: storage drivers and label filters, looked for again at each SIGHUP.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::signal::unix::Signal;
use transom_meta::filter::Plugins;
use transom_plugin::breaker::Settings;
use transom_plugin::filter::{self, FilterSet, Refused};
use transom_plugin::storage::{self, Around, Exchange, OpenDrivers};
use transom_plugin::watch::{InUse, PluginCalls, PluginsInUse, Watch, Watched, Watches};
use transom_plugin::{DriverPlugin, Host, Loaded};
use transom_registry::admission::Admission;
use transom_storage::Factory;

use crate::arguments::DriverPlugins;
use crate::commands::driver;
use crate::failure::Failure;
use crate::{handlers, places};

/// Who stands on the drivers, for errors.
const USER: &str = "[storage]";

/// The plugins of a registry.
pub(super) struct Served {
    /// Started when the first plugin is there: it takes milliseconds that nobody owes who has none.
    host: OnceLock<Host>,
    /// What was typed, without the label filters.
    typed: DriverPlugins,
    /// The label filters that were typed.
    filters: Vec<PathBuf>,
    /// Whether there are policies, so that filters are needed.
    asks: bool,
    opened: OpenDrivers,
    watches: Watches,
    /// When a driver is suspended.
    breaker: Settings,
    drivers: Mutex<Vec<Driver>>,
}

/// A storage driver, and who watches it.
#[derive(Clone)]
struct Driver {
    plugin: DriverPlugin,
    watch: Arc<Watch>,
}

impl Driver {
    fn around(&self) -> Around {
        storage::watched(&self.plugin, &self.watch)
    }
}

impl Served {
    /// Those that were typed, and those in the usual folder.
    pub(super) fn new(typed: &DriverPlugins, asks: bool, breaker: Settings) -> Served {
        let filters = filter::found(&typed.paths);
        let paths = typed.paths.iter().filter(|path| !filters.contains(path));
        Served {
            host: OnceLock::new(),
            typed: DriverPlugins {
                paths: paths.cloned().collect(),
            },
            filters,
            asks,
            opened: OpenDrivers::default(),
            watches: Watches::default(),
            breaker,
            drivers: Mutex::default(),
        }
    }

    /// The storage drivers, so that what is opened by them can be replaced.
    pub(super) fn factory(&self) -> Result<Factory, Failure> {
        let mut factory = Factory::builtin();
        let drivers = self.drivers()?;
        for driver in &drivers {
            factory.register(self.opened.kind(&driver.plugin, &driver.around(), USER))?;
        }
        self.keep(drivers);
        Ok(factory)
    }

    /// The label filters, for policies.
    pub(super) fn filters(&self) -> Result<Plugins, Failure> {
        if !self.asks {
            return Ok(Plugins::default());
        }
        let usual: Vec<PathBuf> = places::plugins().into_iter().collect();
        let mut all = self.filters.clone();
        all.extend(filter::found(&usual));
        let (set, refused) = FilterSet::load(self.host()?, &all);
        match refused.into_iter().next() {
            Some(Refused { path, error }) => Err(Failure::from(error).about(path.display())),
            None => Ok(set.into_plugins()),
        }
    }

    /// Looks for them again at each signal. What cannot be used replaces nothing, and is told to the log.
    pub(super) async fn reload_on(self: Arc<Self>, mut hangup: Signal, admission: Admission) {
        while hangup.recv().await.is_some() {
            match Arc::clone(&self).reload(&admission).await {
                Ok(changed) => tracing::info!(?changed, "the plugins were read again"),
                Err(failure) => tracing::error!(
                    error = failure.message(),
                    "the plugins were read again, and not taken: all go on as they were"
                ),
            }
        }
    }

    async fn reload(self: Arc<Self>, admission: &Admission) -> Result<Vec<String>, Failure> {
        let served = Arc::clone(&self);
        let loaded = tokio::task::spawn_blocking(move || {
            let drivers = served.drivers()?;
            Ok::<_, Failure>((drivers, served.filters()?))
        });
        let loaded = loaded
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (drivers, filters) = loaded?;
        let mut exchange = Exchange::default();
        let mut changed = Vec::new();
        let before = self.kept();
        let is_new = |driver: &&Driver| !before.iter().any(|had| Arc::ptr_eq(&had.watch, &driver.watch));
        for driver in drivers.iter().filter(is_new) {
            let plugin = &driver.plugin;
            let prepared = self.opened.prepare(plugin, &driver.around()).await;
            exchange.and(prepared.map_err(|error| Failure::usage(error.to_string()))?);
            changed.push(format!("{} {}", plugin.name(), plugin.version()));
        }
        let compiled = admission.compile(&filters);
        let policies = compiled
            .map_err(|(name, error)| Failure::usage(format!("[admission.policies.{name}]: {error}")))?;
        admission.replace(policies);
        exchange.take_place();
        self.keep(drivers);
        Ok(changed)
    }

    /// What is counted of them.
    pub(super) fn calls(&self) -> &PluginCalls {
        &self.watches.metrics
    }

    /// Those in use, for whoever asks.
    pub(super) fn in_use(self: &Arc<Self>) -> PluginsInUse {
        let served = Arc::clone(self);
        PluginsInUse::new(move || {
            let in_use = |Driver { plugin, watch }| InUse {
                plugin: Loaded::Driver(plugin),
                watch,
            };
            served.kept().into_iter().map(in_use).collect()
        })
    }

    /// The drivers of now. Those that are as they were go on with what is known of them.
    fn drivers(&self) -> Result<Vec<Driver>, Failure> {
        if !driver::some(&self.typed) {
            return Ok(Vec::new());
        }
        let loaded = driver::load(self.host()?, &mut Factory::builtin(), &self.typed)?;
        let before = self.kept();
        let watched = |plugin: DriverPlugin| {
            let is_it = |had: &&Driver| {
                had.plugin.digest() == plugin.digest() && had.plugin.manifest() == plugin.manifest()
            };
            before.iter().find(is_it).cloned().unwrap_or_else(|| {
                let of = Watched {
                    name: plugin.name(),
                    version: plugin.version(),
                    digest: plugin.digest().as_str(),
                };
                let watch = self.watches.watch(of, self.breaker);
                Driver { plugin, watch }
            })
        };
        Ok(loaded.into_iter().map(watched).collect())
    }

    fn kept(&self) -> Vec<Driver> {
        let drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        drivers.clone()
    }

    fn keep(&self, drivers: Vec<Driver>) {
        let is_used = |name: &str| drivers.iter().any(|driver| driver.plugin.name() == name);
        self.watches.histories.keep(is_used);
        *self.drivers.lock().unwrap_or_else(PoisonError::into_inner) = drivers;
    }

    fn host(&self) -> Result<&Host, Failure> {
        match self.host.get() {
            Some(host) => Ok(host),
            None => {
                let host = handlers::host()?;
                Ok(self.host.get_or_init(|| host))
            }
        }
    }
}
