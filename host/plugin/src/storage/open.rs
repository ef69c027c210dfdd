//! Drivers that are open, and how another version of their plugin takes the place of the one that works.
//!
//! ```text
//! factory ─▶ Replaceable ─▶ around (who counts) ─▶ version 1 ─▶ inner (may be one of these itself)
//!                 ╰─────── later ─▶ around ─────▶ version 2 ─▶ the same inner
//! ```
//!
//! Calls, readers, writers and walks that have begun end with the version that they began with.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::{Map, Value};
use transom_storage::decorators::Replaceable;
use transom_storage::factory::{ConfigError, DriverKind, Parameters};
use transom_storage::{Error, StorageDriver, StoragePath};

use super::DriverPlugin;
use crate::limits::DRIVER_TRIAL;

/// Puts something around a driver that a plugin has opened, such as who counts its calls.
pub type Around = Arc<dyn Fn(Arc<dyn StorageDriver>) -> Arc<dyn StorageDriver> + Send + Sync>;

/// The drivers of a program that are plugins and are open. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct OpenDrivers {
    opened: Arc<Mutex<Vec<Opened>>>,
}

/// A driver that is open, as long as somebody has it.
#[derive(Clone)]
struct Opened {
    plugin: String,
    user: Arc<str>,
    table: Map<String, Value>,
    inner: Option<Weak<dyn StorageDriver>>,
    driver: Weak<Replaceable>,
}

impl OpenDrivers {
    /// The kind of a plugin whose drivers can be replaced. `user` is who opens them, for errors.
    #[must_use]
    pub fn kind(&self, plugin: &DriverPlugin, around: &Around, user: &str) -> DriverKind {
        let kind = plugin.kind();
        let (opened, around, user) = (self.clone(), Arc::clone(around), Arc::<str>::from(user));
        let (name, open) = (plugin.name().to_owned(), Arc::clone(&kind.open));
        let open = move |parameters: &Parameters<'_>, inner: Option<Arc<dyn StorageDriver>>| {
            let below = inner.as_ref().map(Arc::downgrade);
            let driver = Arc::new(Replaceable::new(around(open(parameters, inner)?)));
            opened.add(Opened {
                plugin: name.clone(),
                user: Arc::clone(&user),
                table: parameters.table().clone(),
                inner: below,
                driver: Arc::downgrade(&driver),
            });
            Ok(driver as Arc<dyn StorageDriver>)
        };
        DriverKind {
            open: Arc::new(open),
            ..kind
        }
    }

    /// Who has a driver of this plugin open; each once.
    #[must_use]
    pub fn users(&self, plugin: &str) -> Vec<String> {
        let opened = self.of(plugin).into_iter();
        let mut users: Vec<String> = opened.map(|(opened, _)| opened.user.to_string()).collect();
        users.sort();
        users.dedup();
        users
    }

    /// Opens a version of a plugin wherever another one is open, with the same parameters, and tries it. Nobody uses it yet. Must be
    /// called in a runtime.
    ///
    /// # Errors
    /// [`NotReplaced`].
    pub async fn prepare(&self, plugin: &DriverPlugin, around: &Around) -> Result<Exchange, NotReplaced> {
        let mut exchange = Exchange::default();
        for (opened, driver) in self.of(plugin.name()) {
            let new = opened.open(plugin, &driver).await;
            let new = new.map_err(|because| NotReplaced {
                name: plugin.name().to_owned(),
                version: plugin.version().to_owned(),
                user: opened.user.to_string(),
                because,
            })?;
            exchange.places.push((driver, around(new)));
        }
        Ok(exchange)
    }

    fn add(&self, new: Opened) {
        let mut opened = self.lock();
        opened.retain(|opened| opened.driver.strong_count() > 0);
        opened.push(new);
    }

    fn of(&self, plugin: &str) -> Vec<(Opened, Arc<Replaceable>)> {
        let opened = self.lock();
        let of_plugin = opened.iter().filter(|opened| opened.plugin == plugin);
        of_plugin
            .filter_map(|opened| Some((opened.clone(), opened.driver.upgrade()?)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// Another version in this place, which has answered.
    async fn open(
        &self,
        plugin: &DriverPlugin,
        place: &Replaceable,
    ) -> Result<Arc<dyn StorageDriver>, NotReplacedBecause> {
        // Whoever has the driver has what it stands on.
        let inner = self.inner.as_ref().and_then(Weak::upgrade);
        let (kind, table) = (plugin.kind(), self.table.clone());
        // A guest that is started blocks its caller.
        let opened = tokio::task::spawn_blocking(move || kind.open_on(&table, inner)).await;
        let driver = opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        if let Some(what) = place.lacks(driver.capabilities()) {
            return Err(NotReplacedBecause::Lacks(what));
        }
        let root = StoragePath::root();
        match tokio::time::timeout(DRIVER_TRIAL, driver.stat(&root)).await {
            Ok(Ok(_)) => Ok(driver),
            Ok(Err(error)) => Err(NotReplacedBecause::Answer(error)),
            Err(_) => Err(NotReplacedBecause::Silent),
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The table may have secrets.
        f.debug_struct("Opened")
            .field("plugin", &self.plugin)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Versions that were opened and tried, and wait to be used. Dropped, they are closed again.
#[derive(Debug, Default)]
pub struct Exchange {
    places: Vec<(Arc<Replaceable>, Arc<dyn StorageDriver>)>,
}

impl Exchange {
    /// These too.
    pub fn and(&mut self, other: Exchange) {
        self.places.extend(other.places);
    }

    /// The step in which they are used from now on.
    pub fn take_place(self) {
        for (place, driver) in self.places {
            place.replace(driver);
        }
    }
}

/// Why a version does not take the place of the one that is open, which goes on.
#[derive(Debug, thiserror::Error)]
#[error("{user} stands on {name} and cannot go on with version {version}: {because}")]
pub struct NotReplaced {
    /// The plugin.
    pub name: String,
    /// The version that was tried.
    pub version: String,
    /// Who has it open.
    pub user: String,
    /// What is in the way.
    #[source]
    pub because: NotReplacedBecause,
}

/// What is in the way of a version.
#[derive(Debug, thiserror::Error)]
pub enum NotReplacedBecause {
    /// It cannot be opened with the parameters that there are.
    #[error(transparent)]
    Open(#[from] ConfigError),
    /// It can do less, or works otherwise, than the one before.
    #[error("unlike the version before, {0}")]
    Lacks(&'static str),
    /// It opens, and does not answer as it must.
    #[error("asked for the root, it answers: {0}")]
    Answer(#[source] Error),
    /// It opens, and does not answer.
    #[error("asked for the root, it does not answer in {} s", DRIVER_TRIAL.as_secs())]
    Silent,
}
