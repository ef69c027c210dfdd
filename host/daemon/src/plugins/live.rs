//! The plugins of a running daemon, and every way in which they change.
//!
//! ```text
//! folders ─┐
//! content ─┴▶ candidates ─▶ set (fits the configuration?) ─▶ policies (can still be asked?) ─▶ record ─▶ in use
//! ```
//!
//! A change is made as a whole, beside the set that is in use, and takes its place in one step: jobs under way have what they began
//! with. Whatever goes wrong before that step changes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;
use transom_diff::LiveSettings;
use transom_meta::Metadata;
use transom_oci::Digest;
use transom_plugin::Loaded;
use transom_plugin::artifact::Policy;
use transom_plugin::limits::INSTALLED_MAX;
use transom_plugin::manifest::PluginKind;

use crate::Failure;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::processors;
use crate::reload::{self, Reloaded, Reloading};
use crate::verifiers::{Chosen, Current};

use super::installed::{Found, Installed};
use super::record::{Item, Pin, Record};
use super::set::{Broken, Candidate, Origin, Set, Shelf};
use super::trouble::Trouble;
use super::view::View;
use super::watch::Watches;
use super::{Engine, blocking, folders};

/// The plugins of a running daemon. Clones are the same ones.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    shelf: Shelf,
    watches: Watches,
    settings: LiveSettings,
    verifiers: Current,
    reloading: Reloading,
    state: Mutex<State>,
}

/// What a change begins with. Whoever has it is alone.
struct State {
    /// What is in force.
    config: Config,
    policy: Policy,
    /// None behind a containerd.
    installed: Option<Installed>,
    /// The installed plugins that can be used, and why others cannot.
    loaded: BTreeMap<String, Result<Loaded, String>>,
    /// The storage drivers that the registry could be opened with.
    drivers: BTreeMap<String, Digest>,
}

/// What was changed.
#[derive(Debug)]
pub struct Changed {
    /// The plugin, as it is now or was.
    pub plugin: View,
    /// The version that it replaced.
    pub replaced: Option<Pin>,
}

/// Everything that is made before a change takes place.
struct Next {
    set: Arc<Set>,
    chosen: Chosen,
}

impl Live {
    /// Nothing yet: see [`begin`](Live::begin).
    #[must_use]
    pub fn new(config: &Config, metrics: Metrics, reloading: Reloading) -> Live {
        let watches = Watches {
            metrics,
            clock: reloading.clock.clone(),
            ..Watches::default()
        };
        let state = State {
            config: config.clone(),
            policy: Policy::default(),
            installed: None,
            loaded: BTreeMap::new(),
            drivers: BTreeMap::new(),
        };
        Live {
            inner: Arc::new(Inner {
                engine: Engine::new(&config.root),
                shelf: Shelf::default(),
                watches,
                settings: LiveSettings::default(),
                verifiers: Current::default(),
                reloading,
                state: Mutex::new(state),
            }),
        }
    }

    /// The set of now, and those after it.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.inner.shelf
    }

    /// What layers may pass through, and what they may cost.
    #[must_use]
    pub fn settings(&self) -> &LiveSettings {
        &self.inner.settings
    }

    /// Who judges images.
    #[must_use]
    pub fn verifiers(&self) -> &Current {
        &self.inner.verifiers
    }

    /// Loads what the folders have and what is installed. One that cannot be loaded is logged and listed with its error.
    ///
    /// # Errors
    /// [`Failure::Policy`], [`Failure::Plugins`], and [`Failure::Registry`] for a storage driver of a folder, without which the registry
    /// would be another one.
    pub async fn begin(&self, metadata: Option<&Metadata>) -> Result<(), Failure> {
        let mut state = self.inner.state.lock().await;
        let config = state.config.clone();
        state.policy = read_policy(&config).map_err(Failure::Plugins)?;
        if let Some(metadata) = metadata {
            let installed = Installed::open(metadata.clone(), &config.root).await;
            state.installed = Some(installed.map_err(Failure::Plugins)?);
            self.load_installed(&mut state).await;
        }
        let engine = self.inner.engine.clone();
        let found = blocking(move || folders::load(&config, &engine)).await;
        let (mut candidates, mut broken) = (found.candidates, found.broken);
        state.installed_into(&mut candidates, &mut broken);
        let next = self.next(&state.config, candidates, broken).await;
        let next = next.map_err(Failure::of_plugins)?;
        for broken in &next.set.broken {
            tracing::error!(kind = broken.kind.as_str(), name = broken.name, path = %broken.origin, error = broken.error, "a plugin cannot be used");
            if broken.kind == PluginKind::Driver && broken.origin != Origin::Installed {
                let text = format!(
                    "the storage driver {} cannot be used: {}",
                    broken.origin, broken.error
                );
                return Err(Failure::Registry(text.into()));
            }
        }
        state.drivers = drivers(&next.set);
        processors::warn_of_absent(&state.config, &next.set);
        self.publish(&state.config, next);
        Ok(())
    }

    /// Installs an artifact that is in the content store.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn install(
        &self,
        manifest: &Digest,
        source: &str,
        signatures: &[Digest],
    ) -> Result<Changed, Trouble> {
        Trouble::check(source, signatures.len())?;
        let mut state = self.inner.state.lock().await;
        let found = state.installed()?.find(manifest, signatures).await?;
        let loaded = self.admit(&state, &found).await?;
        let pin = Pin {
            version: loaded.version().to_owned(),
            manifest: manifest.clone(),
            component: loaded.digest().clone(),
            source: source.to_owned(),
            installed: now(),
            signatures: signatures.to_vec(),
        };
        self.take(&mut state, loaded, pin, &found).await
    }

    /// Goes back to the version before.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn roll_back(&self, name: &str) -> Result<Changed, Trouble> {
        let mut state = self.inner.state.lock().await;
        let item = self.item(&state, name)?;
        let Some(pin) = item.previous else {
            return Err(Trouble::NoPrevious(name.to_owned()));
        };
        let found = state.installed()?.find(&pin.manifest, &pin.signatures).await?;
        let loaded = self.admit(&state, &found).await?;
        self.take(&mut state, loaded, pin, &found).await
    }

    /// Takes an installed plugin out of use.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn remove(&self, name: &str) -> Result<Changed, Trouble> {
        let mut state = self.inner.state.lock().await;
        self.item(&state, name)?;
        let mut plugin = self.view_of(&state, name)?;
        if state.drivers.contains_key(name) && plugin.kind == PluginKind::Driver {
            plugin.pending =
                "a registry that was opened with it keeps it until the daemon is started again".to_owned();
        }
        let mut loaded = state.loaded.clone();
        loaded.remove(name);
        let next = self.with_loaded(&state, &loaded).await?;
        let record = state.installed()?.record.without(name);
        state.installed_mut()?.write(record).await?;
        state.loaded = loaded;
        self.publish(&state.config, next);
        tracing::info!(plugin = name, "a plugin was removed");
        Ok(Changed {
            plugin,
            replaced: None,
        })
    }

    /// Reads the configuration again.
    ///
    /// # Errors
    /// [`Trouble`]: then all goes on as before.
    pub async fn reload(&self) -> Result<Reloaded, Trouble> {
        let mut state = self.inner.state.lock().await;
        let reloaded = self.try_reload(&mut state).await;
        match &reloaded {
            Ok(Reloaded {
                changed,
                restart,
                problems,
            }) => {
                tracing::info!(?changed, "the configuration was read again");
                if !restart.is_empty() {
                    tracing::warn!(?restart, "what has changed here needs a restart");
                }
                for problem in problems {
                    tracing::warn!(problem, "what could not be changed");
                }
            }
            Err(error) => tracing::error!(%error, "the configuration was read again, and not taken"),
        }
        reloaded
    }

    /// All plugins, by their names.
    pub async fn views(&self) -> Vec<View> {
        let state = self.inner.state.lock().await;
        self.views_of(&state)
    }

    /// The configuration that is in force.
    pub async fn config(&self) -> Config {
        self.inner.state.lock().await.config.clone()
    }
}

impl Live {
    /// Loads what is installed, as far as the policy lets it in.
    async fn load_installed(&self, state: &mut State) {
        let Some(installed) = &state.installed else { return };
        let mut loaded = BTreeMap::new();
        for Item { name, current, .. } in &installed.record.plugins {
            let found = installed.find(&current.manifest, &current.signatures).await;
            let admitted = match found {
                Ok(found) => self.admit(state, &found).await,
                Err(error) => Err(error),
            };
            loaded.insert(name.clone(), admitted.map_err(|error| error.to_string()));
        }
        state.loaded = loaded;
    }

    async fn admit(&self, state: &State, found: &Found) -> Result<Loaded, Trouble> {
        let (engine, policy, found) = (self.inner.engine.clone(), state.policy.clone(), found.clone());
        blocking(move || {
            let host = engine.host().map_err(Trouble::from)?;
            let admitted = policy.admit(host, &found.artifact, &found.signatures)?;
            Ok(admitted.plugin)
        })
        .await
    }

    /// Takes a version into use.
    async fn take(
        &self,
        state: &mut State,
        plugin: Loaded,
        pin: Pin,
        found: &Found,
    ) -> Result<Changed, Trouble> {
        let (name, kind) = (plugin.name().to_owned(), plugin.kind());
        self.check_name(state, &plugin)?;
        let mut loaded = state.loaded.clone();
        loaded.insert(name.clone(), Ok(plugin));
        let record = state.installed()?.record.with(&name, kind, pin.clone());
        let next = self.with_record(state, &record, &loaded).await?;
        let is_ours = |broken: &&Broken| broken.name == name && broken.origin == Origin::Installed;
        if let Some(Broken { error, .. }) = next.set.broken.iter().find(is_ours) {
            let reason = error.clone();
            return Err(Trouble::Unfit { name, reason });
        }
        let replaced = state
            .installed()?
            .record
            .find(&name)
            .map(|item| item.current.clone());
        let replaced = replaced.filter(|replaced| replaced.manifest != pin.manifest);
        state.installed()?.keep(&name, &pin, found).await?;
        state.installed_mut()?.write(record).await?;
        state.loaded = loaded;
        self.publish(&state.config, next);
        tracing::info!(
            plugin = name,
            version = pin.version,
            manifest = %pin.manifest,
            replaced = replaced.as_ref().map(|pin| pin.version.as_str()),
            "a plugin was installed"
        );
        let plugin = self.view_of(state, &name)?;
        Ok(Changed { plugin, replaced })
    }

    /// Whether an installed plugin may have this name.
    fn check_name(&self, state: &State, plugin: &Loaded) -> Result<(), Trouble> {
        let record = &state.installed()?.record;
        let item = record.find(plugin.name());
        if item.is_none() && record.plugins.len() >= INSTALLED_MAX {
            return Err(Trouble::Full);
        }
        let set = self.inner.shelf.now();
        let Some(entry) = set.find(plugin.name()) else {
            return Ok(());
        };
        let is_other = entry.used.kind() != plugin.kind();
        match &entry.candidate.origin {
            Origin::Installed if !is_other => Ok(()),
            origin => Err(Trouble::Taken {
                name: plugin.name().to_owned(),
                kind: entry.used.kind().as_str(),
                of: origin.to_string().into(),
            }),
        }
    }

    fn item(&self, state: &State, name: &str) -> Result<Item, Trouble> {
        let item = state.installed()?.record.find(name);
        item.cloned().ok_or_else(|| Trouble::NotInstalled {
            name: name.to_owned(),
            folder: self.inner.shelf.now().find(name).is_some(),
        })
    }

    /// The next set, with other installed plugins.
    async fn with_loaded(
        &self,
        state: &State,
        loaded: &BTreeMap<String, Result<Loaded, String>>,
    ) -> Result<Next, Trouble> {
        let record = state.installed()?.record.clone();
        self.with_record(state, &record, loaded).await
    }

    async fn with_record(
        &self,
        state: &State,
        record: &Record,
        loaded: &BTreeMap<String, Result<Loaded, String>>,
    ) -> Result<Next, Trouble> {
        let set = self.inner.shelf.now();
        let (mut candidates, mut broken) = set.of_folders();
        installed_into(record, loaded, &mut candidates, &mut broken);
        self.next(&state.config, candidates, broken).await
    }

    /// Makes a set, and has the policies compiled for it.
    async fn next(
        &self,
        config: &Config,
        candidates: Vec<Candidate>,
        broken: Vec<Broken>,
    ) -> Result<Next, Trouble> {
        let (config, watches, before) = (config.clone(), self.inner.watches.clone(), self.inner.shelf.now());
        blocking(move || {
            let set = Arc::new(Set::of(&config, candidates, broken, &watches, &before));
            let chosen = Chosen::of(&config.verifiers, &set.filters());
            let chosen = chosen.map_err(|(name, source)| Trouble::Policy { name, source })?;
            Ok(Next { set, chosen })
        })
        .await
    }

    /// The step in which a change takes place.
    fn publish(&self, config: &Config, next: Next) {
        let inner = &self.inner;
        inner
            .settings
            .replace(reload::settings(config, next.set.chain.clone()));
        inner.verifiers.replace(next.chosen);
        inner.shelf.replace(next.set);
        let set = inner.shelf.now();
        inner.watches.histories.keep(|name| set.has(name));
    }

    async fn try_reload(&self, state: &mut State) -> Result<Reloaded, Trouble> {
        let reread = self.inner.reloading.reread.clone();
        let read = blocking(move || reread()).await.map_err(Trouble::Configuration)?;
        let comparison = reload::compare(&state.config, &read);
        let config = comparison.effective;
        let policy = read_policy(&config)?;
        let before = self.inner.shelf.now();
        let (engine, wanted) = (self.inner.engine.clone(), config.clone());
        let mut found = blocking(move || folders::load_again(&wanted, &engine, &before)).await;
        let is_another = policy != state.policy;
        let old = std::mem::replace(&mut state.policy, policy);
        let loaded = state.loaded.clone();
        if is_another {
            self.load_installed(state).await;
        }
        state.installed_into(&mut found.candidates, &mut found.broken);
        let next = self.next(&config, found.candidates, found.broken).await;
        let next = next.and_then(|next| self.still_fit(next));
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                state.policy = old;
                state.loaded = loaded;
                return Err(error);
            }
        };
        let problems = next
            .set
            .broken
            .iter()
            .map(|broken| format!("{}: {}", broken.name, broken.error));
        let problems = problems.chain(found.kept).collect();
        if let Some(log) = &self.inner.reloading.log {
            log.set(config.log.level);
        }
        processors::warn_of_absent(&config, &next.set);
        self.publish(&config, next);
        state.config = config;
        Ok(Reloaded {
            changed: comparison.changed,
            restart: comparison.restart,
            problems,
        })
    }

    /// A configuration that breaks a plugin which works is not taken.
    fn still_fit(&self, next: Next) -> Result<Next, Trouble> {
        let before = self.inner.shelf.now();
        let breaks = |broken: &&Broken| broken.unfit && before.find(&broken.name).is_some();
        match next.set.broken.iter().find(breaks) {
            Some(Broken { name, error, .. }) => Err(Trouble::Configuration(format!("{name}: {error}"))),
            None => Ok(next),
        }
    }

    fn views_of(&self, state: &State) -> Vec<View> {
        let empty = Record::default();
        let record = state
            .installed
            .as_ref()
            .map_or(&empty, |installed| &installed.record);
        super::view::all(&self.inner.shelf.now(), record, &state.drivers)
    }

    fn view_of(&self, state: &State, name: &str) -> Result<View, Trouble> {
        let mut views = self.views_of(state).into_iter();
        views
            .find(|view| view.name == name)
            .ok_or_else(|| Trouble::NotInstalled {
                name: name.to_owned(),
                folder: false,
            })
    }
}

impl State {
    fn installed(&self) -> Result<&Installed, Trouble> {
        self.installed.as_ref().ok_or(Trouble::NoStore)
    }

    fn installed_mut(&mut self) -> Result<&mut Installed, Trouble> {
        self.installed.as_mut().ok_or(Trouble::NoStore)
    }

    fn installed_into(&self, candidates: &mut Vec<Candidate>, broken: &mut Vec<Broken>) {
        if let Some(installed) = &self.installed {
            installed_into(&installed.record, &self.loaded, candidates, broken);
        }
    }
}

/// Adds what is installed, in the order of the record.
fn installed_into(
    record: &Record,
    loaded: &BTreeMap<String, Result<Loaded, String>>,
    candidates: &mut Vec<Candidate>,
    broken: &mut Vec<Broken>,
) {
    for item in &record.plugins {
        match loaded.get(&item.name) {
            Some(Ok(loaded)) => candidates.push(Candidate {
                loaded: loaded.clone(),
                origin: Origin::Installed,
            }),
            Some(Err(error)) => broken.push(Broken {
                name: item.name.clone(),
                kind: item.kind,
                origin: Origin::Installed,
                error: error.clone(),
                unfit: false,
            }),
            None => {}
        }
    }
}

fn read_policy(config: &Config) -> Result<Policy, Trouble> {
    match &config.plugins.policy {
        Some(path) => Ok(Policy::read(path)?),
        None => Ok(Policy::default()),
    }
}

fn drivers(set: &Set) -> BTreeMap<String, Digest> {
    let drivers = set
        .entries
        .iter()
        .filter(|entry| entry.used.kind() == PluginKind::Driver);
    drivers
        .map(|entry| (entry.used.name().to_owned(), entry.used.digest().clone()))
        .collect()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map(|now| now.as_secs()).unwrap_or_default()
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("set", &self.inner.shelf)
            .finish_non_exhaustive()
    }
}
