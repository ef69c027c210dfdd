//! A plugin of any kind.

use std::path::Path;

use transom_oci::Digest;

use crate::component;
use crate::error::LoadError;
use crate::filter::Filter;
use crate::host::{self, Host};
use crate::limits::{Limits, LimitsGiven};
use crate::manifest::{Manifest, PluginKind};
use crate::plugin::Plugin;
use crate::storage::DriverPlugin;
use crate::world::World;

/// A plugin that is loaded, whatever it is for.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// A stage in the way of a layer's bytes.
    Processor(Plugin),
    /// A label filter.
    Filter(Filter),
    /// A storage driver.
    Driver(DriverPlugin),
}

impl Host {
    /// Loads a plugin from the bytes of its component, as what it exports. Without a manifest, the one inside the component
    /// counts.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`] but those about files.
    pub fn load_any(&self, bytes: &[u8], manifest: Option<Manifest>) -> Result<Loaded, LoadError> {
        component::check_kind(bytes)?;
        match World::of(&component::read(bytes)?).kind() {
            PluginKind::Processor => self.load_bytes(bytes, manifest).map(Loaded::Processor),
            PluginKind::Filter => self.load_filter_bytes(bytes, manifest).map(Loaded::Filter),
            PluginKind::Driver => self.load_driver_bytes(bytes, manifest).map(Loaded::Driver),
        }
    }

    /// Loads a folder with a `plugin.toml`, or a component.
    ///
    /// # Errors
    ///
    /// Any [`LoadError`].
    pub fn load_any_path(&self, path: &Path) -> Result<Loaded, LoadError> {
        let (bytes, manifest) = host::read_path(path)?;
        self.load_any(&bytes, manifest)
    }
}

impl Loaded {
    /// What it is.
    pub fn kind(&self) -> PluginKind {
        match self {
            Loaded::Processor(_) => PluginKind::Processor,
            Loaded::Filter(_) => PluginKind::Filter,
            Loaded::Driver(_) => PluginKind::Driver,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Loaded::Processor(plugin) => plugin.name(),
            Loaded::Filter(filter) => filter.name(),
            Loaded::Driver(driver) => driver.name(),
        }
    }

    /// Its version.
    pub fn version(&self) -> &str {
        match self {
            Loaded::Processor(plugin) => plugin.version(),
            Loaded::Filter(filter) => filter.version(),
            Loaded::Driver(driver) => driver.version(),
        }
    }

    /// The digest of its component.
    pub fn digest(&self) -> &Digest {
        match self {
            Loaded::Processor(plugin) => plugin.digest(),
            Loaded::Filter(filter) => filter.digest(),
            Loaded::Driver(driver) => driver.digest(),
        }
    }

    /// Its `plugin.toml`, or what stands for it.
    pub fn manifest(&self) -> &Manifest {
        match self {
            Loaded::Processor(plugin) => plugin.manifest(),
            Loaded::Filter(filter) => filter.manifest(),
            Loaded::Driver(driver) => driver.manifest(),
        }
    }

    /// What one job or call of it may cost.
    pub fn limits(&self) -> &Limits {
        match self {
            Loaded::Processor(plugin) => plugin.limits(),
            Loaded::Filter(filter) => filter.limits(),
            Loaded::Driver(driver) => driver.limits(),
        }
    }

    /// The same plugin under the limits that the operator gives it.
    #[must_use]
    pub fn with_limits(&self, given: &LimitsGiven) -> Loaded {
        let mut limits = given.over(self.limits());
        match self {
            Loaded::Processor(plugin) => Loaded::Processor(plugin.clone().with_limits(limits)),
            Loaded::Filter(filter) => {
                // It reads and writes nothing, so that all of its time is time without either.
                limits.stall = given.stall.unwrap_or(limits.cpu);
                limits.wall = given.wall.unwrap_or(limits.wall.max(10 * limits.cpu));
                Loaded::Filter(filter.with_limits(limits))
            }
            Loaded::Driver(driver) => Loaded::Driver(driver.with_limits(limits)),
        }
    }

    /// Lines of its log that were dropped because there were too many.
    pub fn dropped_lines(&self) -> u64 {
        match self {
            Loaded::Processor(plugin) => plugin.dropped_lines(),
            Loaded::Filter(filter) => filter.dropped_lines(),
            Loaded::Driver(driver) => driver.dropped_lines(),
        }
    }
}
