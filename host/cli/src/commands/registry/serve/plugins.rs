//! The plugins of a registry that is served: storage drivers and label filters, looked for again at each SIGHUP.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::signal::unix::Signal;
use transom_meta::filter::Plugins;
use transom_plugin::filter::{self, FilterSet, Refused};
use transom_plugin::storage::{Around, Exchange, OpenDrivers};
use transom_plugin::{DriverPlugin, Host};
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
    drivers: Mutex<Vec<DriverPlugin>>,
}

impl Served {
    /// Those that were typed, and those in the usual folder.
    pub(super) fn new(typed: &DriverPlugins, asks: bool) -> Served {
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
            drivers: Mutex::default(),
        }
    }

    /// The storage drivers, so that what is opened by them can be replaced.
    pub(super) fn factory(&self) -> Result<Factory, Failure> {
        let mut factory = Factory::builtin();
        let drivers = self.drivers()?;
        for plugin in &drivers {
            factory.register(self.opened.kind(plugin, &as_it_is(), USER))?;
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
        for plugin in drivers.iter().filter(|plugin| !self.has(plugin)) {
            let prepared = self.opened.prepare(plugin, &as_it_is()).await;
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

    fn drivers(&self) -> Result<Vec<DriverPlugin>, Failure> {
        match driver::some(&self.typed) {
            true => driver::load(self.host()?, &mut Factory::builtin(), &self.typed),
            false => Ok(Vec::new()),
        }
    }

    /// Whether it is one of those in use.
    fn has(&self, plugin: &DriverPlugin) -> bool {
        let drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut drivers = drivers.iter();
        drivers.any(|had| had.digest() == plugin.digest() && had.manifest() == plugin.manifest())
    }

    fn keep(&self, drivers: Vec<DriverPlugin>) {
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

/// Nobody counts.
fn as_it_is() -> Around {
    Arc::new(|driver| driver)
}
