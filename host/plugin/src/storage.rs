//! WASM components as storage drivers.
//!
//! ```text
//! table → grants → instances, each on a thread of its own ┐
//! call → a free instance → guest ⇄ inner driver, HTTP, keys (what was granted) → answer, checked → caller
//! ```
//!
//! Read `grants` (what the operator gives), `kind` (a plugin as a driver of the factory), `open` (those that are open, and how they are replaced), `watched` (whether they may work, and what they do), `set` (all that there are), `pool` (instances), `driver`
//! (the trait, by calls), `content` (readers and writers), `entries` (lists and walks), `error` (what goes wrong, in both
//! directions); then what a guest may use: `powers`, `inner`, `http`, `keys`.

mod content;
mod driver;
mod entries;
mod error;
mod grants;
pub(crate) mod http;
pub(crate) mod inner;
pub(crate) mod keys;
mod kind;
mod open;
mod pool;
pub(crate) mod powers;
mod set;
mod watched;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use transom_layer::cancel::Cancel;
use transom_oci::Digest;

use crate::error::LoadError;
use crate::host::{self, Checked, Host};
use crate::limits::{DESCRIBE_CPU, DRIVER_CPU, DRIVER_LOG_LINES, DRIVER_STALL, DRIVER_WALL, Limits};
use crate::log::{Log, LogRate};
use crate::manifest::{LimitsAsked, Manifest, PluginKind};
use crate::plugin::{self, Shared};
use crate::state::State;
use crate::wit::storage_v0_1::Ready;
use crate::{stage, world};

pub use self::error::{DriverError, OpenError};
pub use self::grants::{Grants, Hosts, Masters};
pub use self::open::{Around, Exchange, NotReplaced, NotReplacedBecause, OpenDrivers};
pub(crate) use self::powers::Powers;
pub use self::set::{DriverRefused, RefusedBecause, found, register_drivers};
pub use self::watched::watched;

/// A storage driver that is loaded, checked and ready to be opened. Clones are the same plugin.
#[derive(Clone)]
pub struct DriverPlugin {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Clone)]
pub(crate) struct Inner {
    shared: Arc<Shared>,
    ready: Ready,
    name: String,
    version: String,
    digest: Digest,
    manifest: Manifest,
    imports: Vec<String>,
    limits: Limits,
    log_rate: LogRate,
}

impl Host {
    /// Loads a storage driver: a folder with a `plugin.toml`, or a component.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`].
    pub fn load_driver(&self, path: &Path) -> Result<DriverPlugin, LoadError> {
        let (bytes, manifest) = host::read_path(path)?;
        self.load_driver_bytes(&bytes, manifest)
    }

    /// Loads a storage driver from the bytes of its component. Without a manifest, the one inside the component counts.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`] but those about files.
    pub fn load_driver_bytes(
        &self,
        bytes: &[u8],
        manifest: Option<Manifest>,
    ) -> Result<DriverPlugin, LoadError> {
        let manifest = host::or_inside(manifest, bytes)?;
        let base = limits(&self.config().limits);
        let checked = self.check(&world::STORAGE, bytes, manifest.as_ref(), &base)?;
        let Checked {
            digest,
            imports,
            component,
            limits,
        } = checked;
        let ready =
            Ready::new(self.linker(), &component).map_err(|error| LoadError::Types(format!("{error:#}")))?;
        let (name, version) = describe(self.shared(), &ready, &limits)?;
        let manifest = match manifest {
            Some(manifest) => agreed(manifest, &name, &version, &imports)?,
            None => undeclared(&name, &version, &imports),
        };
        tracing::debug!(plugin = name, version, %digest, "storage driver loaded");
        let inner = Inner {
            shared: Arc::clone(self.shared()),
            ready,
            name,
            version,
            digest,
            manifest,
            imports,
            limits,
            log_rate: LogRate::default(),
        };
        Ok(DriverPlugin {
            inner: Arc::new(inner),
        })
    }
}

impl DriverPlugin {
    /// Its name, which is the driver's in a configuration.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// The digest of the component.
    pub fn digest(&self) -> &Digest {
        &self.inner.digest
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

    /// The same plugin under other limits, by the operator's word.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        let inner = Inner {
            limits,
            ..Inner::clone(&self.inner)
        };
        DriverPlugin {
            inner: Arc::new(inner),
        }
    }

    /// Lines of its log that were dropped because there were too many.
    pub fn dropped_lines(&self) -> u64 {
        self.inner.log_rate.dropped()
    }

    /// Whether it stands on another driver.
    pub fn stacks(&self) -> bool {
        self.inner.asks_for("inner")
    }
}

impl fmt::Debug for DriverPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverPlugin")
            .field("name", &self.inner.name)
            .field("version", &self.inner.version)
            .field("digest", &self.inner.digest)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn log(&self) -> Log {
        Log::new(
            &self.name,
            &self.version,
            "-",
            self.limits.log_lines,
            self.log_rate.clone(),
        )
    }

    /// Whether its manifest asks for a power.
    fn asks_for(&self, capability: &str) -> bool {
        let mut asked = self.manifest.capabilities.iter();
        asked.any(|asked| asked == capability)
    }
}

/// What one call may cost: the host's limits, but less time.
fn limits(host: &Limits) -> Limits {
    Limits {
        cpu: DRIVER_CPU.min(host.cpu),
        stall: DRIVER_STALL.min(host.stall),
        wall: DRIVER_WALL.min(host.wall),
        log_lines: DRIVER_LOG_LINES.min(host.log_lines),
        ..host.clone()
    }
}

/// Asks a component what it is, in an instance of its own.
fn describe(shared: &Shared, ready: &Ready, limits: &Limits) -> Result<(String, String), LoadError> {
    let limits = Limits {
        cpu: DESCRIBE_CPU,
        stall: DESCRIBE_CPU,
        wall: 10 * DESCRIBE_CPU,
        ..limits.clone()
    };
    let log = Log::of_unknown(limits.log_lines);
    let mut store = State::new(limits.clone(), Cancel::new(), log).into_store(&shared.engine);
    let ticking = shared.ticker.tick();
    let instance = ready.instantiate(&mut store);
    let described = instance.and_then(|instance| instance.describe(&mut store));
    drop(ticking);
    let (name, version) =
        described.map_err(|error| LoadError::Describe(stage::fault_of(&error, store.data_mut(), &limits)))?;
    plugin::check_identity(&name, &version).map_err(LoadError::Info)?;
    Ok((name, version))
}

/// The interfaces that are a power, and the capability that asks for each.
const POWERS: [(&str, &str); 3] = [
    ("transom:storage/driver", "inner"),
    ("transom:storage/http", "http"),
    ("transom:storage/keys", "keys"),
];

/// The capabilities that imports amount to.
fn imported(imports: &[String]) -> impl Iterator<Item = &'static str> {
    let is = |interface: &str| {
        imports
            .iter()
            .any(|import| import.split('@').next() == Some(interface))
    };
    POWERS
        .into_iter()
        .filter(move |(interface, _)| is(interface))
        .map(|(_, capability)| capability)
}

/// The manifest, if it says the same as the component and asks for what that uses.
fn agreed(manifest: Manifest, name: &str, version: &str, imports: &[String]) -> Result<Manifest, LoadError> {
    let fields = [
        ("name", manifest.name.as_str(), name),
        ("version", manifest.version.as_str(), version),
        ("kind", manifest.kind.as_str(), PluginKind::Driver.as_str()),
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
    let asked = |capability: &str| manifest.capabilities.iter().any(|asked| asked == capability);
    match imported(imports).find(|capability| !asked(capability)) {
        None => Ok(manifest),
        Some(capability) => Err(LoadError::NotGranted {
            asked: format!("{capability:?}, as it imports that interface"),
            hint: format!("its plugin.toml must say so: capabilities = [\"{capability}\", …]"),
        }),
    }
}

/// What a component without a `plugin.toml` amounts to.
fn undeclared(name: &str, version: &str, imports: &[String]) -> Manifest {
    Manifest {
        name: name.to_owned(),
        version: version.to_owned(),
        kind: PluginKind::Driver,
        world: world::STORAGE.name.to_owned(),
        description: String::new(),
        license: None,
        component: None,
        converts: Vec::new(),
        capabilities: imported(imports).map(str::to_owned).collect(),
        config: std::collections::BTreeMap::new(),
        secrets: std::collections::BTreeMap::new(),
        limits: LimitsAsked::default(),
        declared: false,
    }
}
