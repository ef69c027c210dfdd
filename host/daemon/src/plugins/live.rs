//! The plugins of a running daemon, and every way in which they change.
//!
//! ```text
//! folders ─┐
//! content ─┴▶ candidates ─▶ set (fits the configuration?) ─▶ policies (can still be asked?) ─▶ storage drivers (open, and answer?)
//!             ─▶ record ─▶ in use
//! ```
//!
//! A change is made as a whole, beside the set that is in use, and takes its place in one step: jobs under way have what they began
//! with. Whatever goes wrong before that step changes nothing. `change` has what is asked for plugin by plugin, `reread` the configuration
//! as a whole, `drivers` what is different for storage drivers.

mod change;
mod drivers;
mod reread;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use transom_diff::LiveSettings;
use transom_meta::Metadata;
use transom_meta::policy::Policies;
use transom_plugin::Loaded;
use transom_plugin::artifact::Policy;
use transom_plugin::grants::Grant;
use transom_plugin::manifest::PluginKind;
use transom_plugin::storage::{Exchange, OpenDrivers};
use transom_plugin::watch::Watches;
use transom_registry::admission::Admission;

use crate::Failure;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::reload::{self, Reloading};
use crate::verifiers::{Chosen, Current};
use crate::{grants, processors};

use super::installed::{Found, Installed};
use super::record::{Item, Pin, Record};
use super::set::{Broken, Candidate, Origin, Set, Shelf};
use super::trouble::Trouble;
use super::view::View;
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
    /// Storage drivers that somebody stands on.
    opened: OpenDrivers,
    settings: LiveSettings,
    verifiers: Current,
    reloading: Reloading,
    shown: RwLock<Arc<Shown>>,
    state: Mutex<State>,
}

/// What is told without waiting for a change that is being made.
#[derive(Default)]
struct Shown {
    config: Option<Config>,
    record: Record,
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
    /// What the registry asks before it takes what is pushed.
    pushes: Option<Admission>,
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
    pushes: Option<(Admission, Policies)>,
    drivers: Exchange,
}

impl Live {
    /// Nothing yet: see [`begin`](Live::begin).
    #[must_use]
    pub fn new(config: &Config, metrics: &Metrics, reloading: Reloading) -> Live {
        let watches = Watches {
            metrics: metrics.calls_of_plugins(),
            clock: reloading.clock.clone(),
            ..Watches::default()
        };
        let state = State {
            config: config.clone(),
            policy: Policy::default(),
            installed: None,
            loaded: BTreeMap::new(),
            pushes: None,
        };
        Live {
            inner: Arc::new(Inner {
                engine: Engine::new(&config.root),
                shelf: Shelf::default(),
                watches,
                opened: OpenDrivers::default(),
                settings: LiveSettings::default(),
                verifiers: Current::default(),
                reloading,
                shown: RwLock::default(),
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
        state.policy =
            read_policy(&config, self.inner.reloading.policy.as_deref()).map_err(Failure::Plugins)?;
        if let Some(metadata) = metadata {
            let installed = Installed::open(metadata.clone(), &config.root).await;
            state.installed = Some(installed.map_err(Failure::Plugins)?);
            self.load_installed(&mut state).await;
        }
        let engine = self.inner.engine.clone();
        let found = blocking(move || folders::load(&config, &engine)).await;
        let (mut candidates, mut broken) = (found.candidates, found.broken);
        state.installed_into(&mut candidates, &mut broken);
        let next = self.next(&state, &state.config, candidates, broken).await;
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
        processors::warn_of_absent(&state.config, &next.set);
        self.publish(&state, next);
        Ok(())
    }

    /// From now on the policies of a registry follow the versions of their filters.
    pub async fn follow(&self, pushes: Admission) {
        self.inner.state.lock().await.pushes = Some(pushes);
    }

    /// All plugins, by their names.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let shown = self.shown();
        super::view::all(&self.inner.shelf.now(), &shown.record)
    }

    /// What the configuration that is in force grants to a plugin.
    #[must_use]
    pub fn grants(&self, plugin: &Loaded) -> Vec<Grant> {
        let shown = self.shown();
        let config = shown.config.as_ref();
        config
            .map(|config| grants::of(config, plugin))
            .unwrap_or_default()
    }

    fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.inner.shown.read().unwrap_or_else(PoisonError::into_inner))
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

    /// Makes a set, has the policies compiled for it, and the storage drivers opened that somebody stands on.
    async fn next(
        &self,
        state: &State,
        config: &Config,
        mut candidates: Vec<Candidate>,
        mut broken: Vec<Broken>,
    ) -> Result<Next, Trouble> {
        let before = self.inner.shelf.now();
        let held = drivers::held(&before, &self.inner.opened, &mut candidates, &mut broken);
        let (config, watches) = (config.clone(), self.inner.watches.clone());
        let (was, admission) = (Arc::clone(&before), state.pushes.clone());
        let mut next = blocking(move || {
            let mut set = Set::of(&config, candidates, broken, &watches, &was);
            set.held = held;
            let set = Arc::new(set);
            let unasked = |(name, source)| Trouble::Policy { name, source };
            let chosen = Chosen::of(&config, &set.filters()).map_err(unasked)?;
            let pushes = match admission {
                Some(admission) => {
                    let policies = admission.compile(&set.filters()).map_err(unasked)?;
                    Some((admission, policies))
                }
                None => None,
            };
            let drivers = Exchange::default();
            Ok::<_, Trouble>(Next {
                set,
                chosen,
                pushes,
                drivers,
            })
        })
        .await?;
        next.drivers = self.exchange(&before, &next.set).await?;
        Ok(next)
    }

    /// The step in which a change takes place.
    fn publish(&self, state: &State, next: Next) {
        let inner = &self.inner;
        let record = state.installed.as_ref().map(|installed| installed.record.clone());
        let shown = Shown {
            config: Some(state.config.clone()),
            record: record.unwrap_or_default(),
        };
        *inner.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
        let settings = reload::settings(&state.config, next.set.chain.clone());
        inner.settings.replace(settings);
        inner.verifiers.replace(next.chosen);
        if let Some((admission, policies)) = next.pushes {
            admission.replace(policies);
        }
        next.drivers.take_place();
        inner.shelf.replace(next.set);
        let set = inner.shelf.now();
        inner.watches.histories.keep(|name| set.has(name));
    }

    fn view_of(&self, name: &str) -> Result<View, Trouble> {
        let mut views = self.views().into_iter();
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

/// What the configuration names, or else what is usual and there.
fn read_policy(config: &Config, usual: Option<&Path>) -> Result<Policy, Trouble> {
    let usual = usual.filter(|path| path.exists());
    match config.plugins.policy.as_deref().or(usual) {
        Some(path) => Ok(Policy::read(path)?),
        None => Ok(Policy::default()),
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("set", &self.inner.shelf)
            .finish_non_exhaustive()
    }
}
