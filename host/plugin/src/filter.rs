//! WASM components as label filters: an expression about the records of a list, understood once, matched in batches.
//!
//! ```text
//! expression → instance.compile → kept instance ┐
//! facts → batch (one text, one list of pairs, one of records) → instance.matches → bits → records
//! ```
//!
//! Read `batch` (facts to the interface's form), `instance` (a guest with an expression that it has understood), `set` (how
//! lists find filters by name), [`cases`] (what authors try their filters on).

pub mod cases;

mod batch;
mod instance;
mod set;

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use transom_layer::cancel::Cancel;
use transom_oci::Digest;
use wasmtime::Store;

pub use self::set::{FilterSet, Refused, found};

use self::instance::Instance;
use crate::error::{Fault, LoadError};
use crate::host::{self, Checked, Host};
use crate::limits::{FILTER_CPU, FILTER_INSTANCES_KEPT, FILTER_LOG_LINES, Limits};
use crate::log::{Log, LogRate};
use crate::manifest::{LimitsAsked, Manifest, PluginKind};
use crate::plugin::{self, Shared};
use crate::state::State;
use crate::wit::filter_v0_1::Ready;
use crate::{stage, world};

/// What a label filter says of itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct FilterInfo {
    /// Its name: what stands behind `wasm.` in a filter.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An expression that shows what it is for.
    pub example: String,
}

/// A label filter that is loaded, checked and ready. Clones are the same filter.
#[derive(Clone)]
pub struct Filter {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    shared: Arc<Shared>,
    ready: Ready,
    digest: Digest,
    info: FilterInfo,
    manifest: Manifest,
    imports: Vec<String>,
    limits: Limits,
    log_rate: LogRate,
    /// Instances that have understood an expression, oldest first.
    idle: Arc<Mutex<VecDeque<Instance>>>,
}

impl Host {
    /// Loads a label filter: a folder with a `plugin.toml`, or a component.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`].
    pub fn load_filter(&self, path: &Path) -> Result<Filter, LoadError> {
        let (bytes, manifest) = host::read_path(path)?;
        self.load_filter_bytes(&bytes, manifest)
    }

    /// Loads a label filter from the bytes of its component. Without a manifest, the one inside the component counts.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`] but those about files.
    pub fn load_filter_bytes(&self, bytes: &[u8], manifest: Option<Manifest>) -> Result<Filter, LoadError> {
        let manifest = host::or_inside(manifest, bytes)?;
        let base = limits(&self.config().limits);
        let checked = self.check(&world::FILTER, bytes, manifest.as_ref(), &base)?;
        let Checked {
            digest,
            imports,
            component,
            mut limits,
        } = checked;
        // A filter reads and writes nothing, so that all of its time is time without either.
        limits.stall = limits.cpu;
        limits.wall = limits.wall.max(10 * limits.cpu);
        let ready =
            Ready::new(self.linker(), &component).map_err(|error| LoadError::Types(format!("{error:#}")))?;
        let info = describe(self.shared(), &ready, &limits)?;
        let manifest = match manifest {
            Some(manifest) => agreed(manifest, &info)?,
            None => undeclared(&info),
        };
        tracing::debug!(plugin = info.name, version = info.version, %digest, "label filter loaded");
        let inner = Inner {
            shared: Arc::clone(self.shared()),
            ready,
            digest,
            info,
            manifest,
            imports,
            limits,
            log_rate: LogRate::default(),
            idle: Arc::default(),
        };
        Ok(Filter {
            inner: Arc::new(inner),
        })
    }
}

impl Filter {
    /// Its name: what stands behind `wasm.` in a filter.
    pub fn name(&self) -> &str {
        &self.inner.info.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.inner.info.version
    }

    /// The digest of the component.
    pub fn digest(&self) -> &Digest {
        &self.inner.digest
    }

    /// What it says of itself.
    pub fn info(&self) -> &FilterInfo {
        &self.inner.info
    }

    /// Its `plugin.toml`, or what stands for it.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The interfaces that it imports.
    pub fn imports(&self) -> &[String] {
        &self.inner.imports
    }

    /// What one call of it may cost.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// The same filter under other limits, by the operator's word.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        let inner = Inner {
            limits,
            // Instances have the limits under which they were made.
            idle: Arc::default(),
            ..Inner::clone(&self.inner)
        };
        Filter {
            inner: Arc::new(inner),
        }
    }

    /// Lines of its log that were dropped because there were too many.
    pub fn dropped_lines(&self) -> u64 {
        self.inner.log_rate.dropped()
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("info", self.info())
            .field("digest", self.digest())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn log(&self) -> Log {
        let FilterInfo { name, version, .. } = &self.info;
        Log::new(name, version, "-", self.limits.log_lines, self.log_rate.clone())
    }

    /// An instance that has understood the expression: a kept one, or else a new one.
    fn instance(&self, expression: &Arc<str>) -> Result<Instance, Fault> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.iter().rposition(|instance| instance.knows(expression));
        let kept = kept.and_then(|at| idle.remove(at));
        drop(idle);
        match kept {
            Some(instance) => Ok(instance),
            None => Instance::new(self, expression),
        }
    }

    /// Keeps an instance for the next list; the one that was not used for longest may go.
    fn keep(&self, instance: Instance) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push_back(instance);
        let surplus = (idle.len() > FILTER_INSTANCES_KEPT).then(|| idle.pop_front());
        drop(idle);
        drop(surplus);
    }

    fn store(&self) -> Store<State> {
        State::new(self.limits.clone(), Cancel::new(), self.log()).into_store(&self.shared.engine)
    }
}

/// What one call may cost: the host's limits, but far less time.
fn limits(host: &Limits) -> Limits {
    Limits {
        cpu: FILTER_CPU.min(host.cpu),
        stall: FILTER_CPU.min(host.stall),
        wall: (10 * FILTER_CPU).min(host.wall),
        log_lines: FILTER_LOG_LINES.min(host.log_lines),
        ..host.clone()
    }
}

/// Asks a component what it is, in an instance of its own.
fn describe(shared: &Shared, ready: &Ready, limits: &Limits) -> Result<FilterInfo, LoadError> {
    let log = Log::of_unknown(limits.log_lines);
    let mut store = State::new(limits.clone(), Cancel::new(), log).into_store(&shared.engine);
    let ticking = shared.ticker.tick();
    let instance = ready.instantiate(&mut store);
    let described = instance.and_then(|instance| instance.describe(&mut store));
    drop(ticking);
    let info =
        described.map_err(|error| LoadError::Describe(stage::fault_of(&error, store.data_mut(), limits)))?;
    plugin::check_identity(&info.name, &info.version).map_err(LoadError::Info)?;
    if info.example.len() > 256 || info.example.contains(char::is_control) {
        return Err(LoadError::Info(
            "its example is longer than one line of 256 bytes".into(),
        ));
    }
    Ok(info)
}

/// The manifest, if it says the same as the component.
fn agreed(manifest: Manifest, info: &FilterInfo) -> Result<Manifest, LoadError> {
    let fields = [
        ("name", manifest.name.as_str(), info.name.as_str()),
        ("version", manifest.version.as_str(), info.version.as_str()),
        ("kind", manifest.kind.as_str(), PluginKind::Filter.as_str()),
    ];
    for (field, manifest, component) in fields {
        if manifest != component {
            return Err(LoadError::Mismatch {
                field,
                manifest: manifest.to_owned(),
                component: component.to_owned(),
            });
        }
    }
    Ok(manifest)
}

/// What a component without a `plugin.toml` amounts to.
fn undeclared(info: &FilterInfo) -> Manifest {
    Manifest {
        name: info.name.clone(),
        version: info.version.clone(),
        kind: PluginKind::Filter,
        world: world::FILTER.name.to_owned(),
        description: String::new(),
        license: None,
        component: None,
        converts: Vec::new(),
        capabilities: Vec::new(),
        config: std::collections::BTreeMap::new(),
        secrets: std::collections::BTreeMap::new(),
        limits: LimitsAsked::default(),
        declared: false,
    }
}
