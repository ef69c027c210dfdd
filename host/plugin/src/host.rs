//! The owner of the engine, and the way from a file to a plugin.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use transom_oci::{Algorithm, Digest};
use wasmtime::component::{Component, Linker};

use crate::artifact::section;
use crate::cache::Cache;
use crate::component;
pub use crate::engine::Allocation;
use crate::engine::{self, Ticker};
use crate::error::LoadError;
use crate::limits::{COMPONENT_BYTES_MAX, Limits, MANIFEST_BYTES_MAX, POOL_MEMORY_MAX};
use crate::log::LogRate;
use crate::manifest::Manifest;
use crate::plugin::{self, Plugin, Shared};
use crate::state::State;
use crate::wit::{artifacts_v0_1, keys_v0_1, storage_v0_1, v0_1};
use crate::world::{self, World};

/// How a host loads plugins.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The folder for compiled code. It is made if it is not there, and must belong to this user and be closed to all
    /// others. Without one, every start compiles anew.
    pub cache_dir: Option<PathBuf>,
    /// How guests get their memory.
    pub allocation: Allocation,
    /// What a job may cost when its plugin asks for nothing else.
    pub limits: Limits,
    /// The most that a plugin's manifest may ask for.
    pub ceiling: Limits,
}

impl Default for HostConfig {
    /// No cache, memory from a pool if possible, the default limits, and a ceiling of 1 GiB of memory, a day of CPU time and
    /// ten minutes of it without reading or writing.
    fn default() -> Self {
        let ceiling = Limits {
            memory: POOL_MEMORY_MAX,
            cpu: std::time::Duration::from_secs(24 * 3600),
            stall: std::time::Duration::from_secs(600),
            ratio: u64::MAX,
            ..Limits::default()
        };
        Self {
            cache_dir: None,
            allocation: Allocation::Auto,
            limits: Limits::default(),
            ceiling,
        }
    }
}

/// Loads plugins. A process needs one: engines do not share their memory pools or their tickers.
pub struct Host {
    shared: Arc<Shared>,
    linker: Linker<State>,
    cache: Option<Cache>,
    config: HostConfig,
    pooling: bool,
}

impl Host {
    /// Starts the engine.
    ///
    /// # Errors
    ///
    /// [`LoadError::Cache`] for a cache folder that cannot be trusted, [`LoadError::Engine`].
    pub fn new(config: HostConfig) -> Result<Self, LoadError> {
        let (engine, pooling) = engine::start(config.allocation)?;
        let cache = config
            .cache_dir
            .as_deref()
            .map(|folder| Cache::open(folder, &engine))
            .transpose()?;
        let mut linker = Linker::new(&engine);
        let added = v0_1::add_to_linker(&mut linker)
            .and_then(|()| keys_v0_1::add_to_linker(&mut linker))
            .and_then(|()| artifacts_v0_1::add_to_linker(&mut linker))
            .and_then(|()| storage_v0_1::add_to_linker(&mut linker));
        added.map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let ticker = Ticker::start(&engine)?;
        Ok(Self {
            shared: Arc::new(Shared { engine, ticker }),
            linker,
            cache,
            config,
            pooling,
        })
    }

    /// Whether guests get their memory from a pool.
    pub fn is_pooling(&self) -> bool {
        self.pooling
    }

    /// Loads a folder with a `plugin.toml`, or a component.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`].
    pub fn load(&self, path: &Path) -> Result<Plugin, LoadError> {
        if path.is_dir() {
            self.load_dir(path)
        } else {
            self.load_file(path)
        }
    }

    /// Loads a component. A `plugin.toml` beside it counts if it names this file, else the one inside it.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`].
    pub fn load_file(&self, path: &Path) -> Result<Plugin, LoadError> {
        let (bytes, manifest) = read_file(path)?;
        self.load_bytes(&bytes, manifest)
    }

    /// Loads the plugin in a folder: its `plugin.toml` and the component that it names.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`].
    pub fn load_dir(&self, folder: &Path) -> Result<Plugin, LoadError> {
        let (bytes, manifest) = read_dir(folder)?;
        self.load_bytes(&bytes, Some(manifest))
    }

    /// Loads a component from its bytes. Without a manifest, the one inside the component counts.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`] but those about files.
    pub fn load_bytes(&self, bytes: &[u8], manifest: Option<Manifest>) -> Result<Plugin, LoadError> {
        let manifest = or_inside(manifest, bytes)?;
        let checked = self.check(&world::PROCESSOR, bytes, manifest.as_ref(), &self.config.limits)?;
        let ready = v0_1::Ready::new(&self.linker, &checked.component)
            .map_err(|error| LoadError::Types(format!("{error:#}")))?;
        let Checked {
            digest,
            imports,
            limits,
            ..
        } = checked;
        let info = plugin::describe(&self.shared, &ready, &limits)?;
        if let Some(mismatch) = manifest
            .as_ref()
            .and_then(|manifest| plugin::mismatch(manifest, &info))
        {
            return Err(mismatch);
        }
        let manifest = manifest.unwrap_or_else(|| Manifest::from_info(&info, world::PROCESSOR.name));
        tracing::debug!(plugin = info.name, version = info.version, %digest, "plugin loaded");
        Ok(Plugin {
            shared: Arc::clone(&self.shared),
            ready: Arc::new(ready),
            digest,
            info: Arc::new(info),
            manifest: Arc::new(manifest),
            imports: Arc::new(imports),
            limits,
            log_rate: LogRate::default(),
        })
    }

    /// Everything that is done with a component of any kind before its imports are resolved.
    pub(crate) fn check(
        &self,
        world: &World,
        bytes: &[u8],
        manifest: Option<&Manifest>,
        base: &Limits,
    ) -> Result<Checked, LoadError> {
        let size = bytes.len() as u64;
        if size > COMPONENT_BYTES_MAX {
            return Err(LoadError::TooLarge {
                what: "the component",
                size,
                limit: COMPONENT_BYTES_MAX,
            });
        }
        let digest = Digest::of(Algorithm::Sha256, bytes);
        if let Some(manifest) = manifest {
            world::check_world(world, &manifest.world)?;
        }
        let imports = checked_imports(world, bytes)?;
        let component = self.compile(bytes, &digest)?;
        let limits = manifest.map_or_else(
            || Ok(base.clone()),
            |manifest| manifest.limits.apply(base, &self.config.ceiling),
        )?;
        Ok(Checked {
            digest,
            imports,
            component,
            limits,
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn config(&self) -> &HostConfig {
        &self.config
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.linker
    }

    fn compile(&self, bytes: &[u8], digest: &Digest) -> Result<Component, LoadError> {
        let engine = &self.shared.engine;
        let fault = |error: wasmtime::Error| LoadError::Compile(format!("{error:#}"));
        let Some(cache) = &self.cache else {
            return Component::new(engine, bytes).map_err(fault);
        };
        if let Some(component) = cache.load(engine, digest).map_err(fault)? {
            return Ok(component);
        }
        let code = engine.precompile_component(bytes).map_err(fault)?;
        cache.store(digest, &code);
        match cache.load(engine, digest).map_err(fault)? {
            Some(component) => Ok(component),
            // The folder may be full or read-only.
            None => Component::new(engine, bytes).map_err(fault),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("config", &self.config)
            .field("pooling", &self.pooling)
            .finish_non_exhaustive()
    }
}

/// A component that was checked and compiled.
pub(crate) struct Checked {
    pub(crate) digest: Digest,
    pub(crate) imports: Vec<String>,
    pub(crate) component: Component,
    pub(crate) limits: Limits,
}

/// The bytes of a component and its `plugin.toml`, from a folder that has both or from the file of a component.
pub(crate) fn read_path(path: &Path) -> Result<(Vec<u8>, Option<Manifest>), LoadError> {
    if path.is_dir() {
        read_dir(path).map(|(bytes, manifest)| (bytes, Some(manifest)))
    } else {
        read_file(path)
    }
}

fn read_dir(folder: &Path) -> Result<(Vec<u8>, Manifest), LoadError> {
    let manifest = manifest(&folder.join("plugin.toml"))?;
    let component = folder.join(component_name(&manifest));
    let bytes = read(&component, "the component", COMPONENT_BYTES_MAX)?;
    Ok((bytes, manifest))
}

fn read_file(path: &Path) -> Result<(Vec<u8>, Option<Manifest>), LoadError> {
    let bytes = read(path, "the component", COMPONENT_BYTES_MAX)?;
    let beside = path.with_file_name("plugin.toml");
    if !beside.is_file() {
        return Ok((bytes, None));
    }
    let manifest = manifest(&beside)?;
    let name = component_name(&manifest);
    let is_its_own = path.file_name().is_some_and(|file| file == name.as_str());
    Ok((bytes, is_its_own.then_some(manifest)))
}

/// The manifest that was given, else the one inside the component, if it has one.
pub(crate) fn or_inside(given: Option<Manifest>, bytes: &[u8]) -> Result<Option<Manifest>, LoadError> {
    match given {
        Some(manifest) => Ok(Some(manifest)),
        None if component::check_kind(bytes).is_ok() => section::manifest(bytes, Path::new("plugin.toml")),
        None => Ok(None),
    }
}

/// Everything that is checked before a component is compiled.
fn checked_imports(world: &World, bytes: &[u8]) -> Result<Vec<String>, LoadError> {
    component::check_kind(bytes)?;
    component::validate(bytes)?;
    let names = component::read(bytes)?;
    world::check_kind(world, &names)?;
    let forbidden = world::forbidden(world, &names, bytes);
    if !forbidden.is_empty() {
        return Err(LoadError::Forbidden(forbidden));
    }
    world::check_imports(world, &names)?;
    world::check_exports(world, &names)?;
    Ok(names.imports)
}

fn component_name(manifest: &Manifest) -> String {
    manifest
        .component
        .clone()
        .unwrap_or_else(|| format!("{}.wasm", manifest.name))
}

fn manifest(path: &Path) -> Result<Manifest, LoadError> {
    let bytes = read(path, "plugin.toml", MANIFEST_BYTES_MAX)?;
    let text = String::from_utf8(bytes).map_err(|_| LoadError::Manifest {
        path: path.to_owned(),
        line: 0,
        message: "it is not UTF-8".into(),
    })?;
    Manifest::parse(&text, path)
}

/// Reads a file of limited size.
fn read(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, LoadError> {
    let fault = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(fault)?;
    let size = file.metadata().map_err(fault)?.len();
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fault)?;
    let size = size.max(bytes.len() as u64);
    if size > limit {
        Err(LoadError::TooLarge { what, size, limit })
    } else {
        Ok(bytes)
    }
}
