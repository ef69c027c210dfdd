//! The drivers of a program: those of the storage crate, and plugins that it finds.

use std::path::{Path, PathBuf};

use transom_storage::Factory;
use transom_storage::factory::ConfigError;

use super::DriverPlugin;
use crate::error::LoadError;
use crate::host::Host;
use crate::manifest::{Manifest, PluginKind};

/// A storage driver that could not be made known.
#[derive(Debug, thiserror::Error)]
#[error("the storage driver {} cannot be used: {error}", path.display())]
pub struct DriverRefused {
    /// The folder or the component.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub error: RefusedBecause,
}

/// Why a storage driver could not be made known.
#[derive(Debug, thiserror::Error)]
pub enum RefusedBecause {
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is a driver of its name.
    #[error(transparent)]
    Name(#[from] ConfigError),
}

/// Loads a storage driver from each path and makes it known to a factory. A path is a plugin's folder, a component, or a folder of
/// plugins' folders, of which those of other kinds are left alone. One that cannot be used does not keep the others away.
pub fn register_drivers(
    host: &Host,
    factory: &mut Factory,
    paths: &[PathBuf],
) -> (Vec<DriverPlugin>, Vec<DriverRefused>) {
    let (mut loaded, mut refused) = (Vec::new(), Vec::new());
    for path in paths.iter().flat_map(|path| found(path)) {
        let registered = host
            .load_driver(&path)
            .map_err(RefusedBecause::from)
            .and_then(|plugin| {
                plugin.register(factory)?;
                Ok(plugin)
            });
        match registered {
            Ok(plugin) => loaded.push(plugin),
            Err(error) => refused.push(DriverRefused { path, error }),
        }
    }
    (loaded, refused)
}

/// The storage drivers that a path means: a plugin's folder or a component, or a folder of plugins' folders, of which those of other
/// kinds are left alone. What is not there is given, too, for the error.
#[must_use]
pub fn found(path: &Path) -> Vec<PathBuf> {
    let is_many = path.is_dir() && !path.join("plugin.toml").is_file();
    let Some(entries) = is_many.then(|| path.read_dir().ok()).flatten() else {
        return vec![path.to_owned()];
    };
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| is_driver(folder))
        .collect();
    folders.sort();
    folders
}

/// Whether a folder has a storage driver, or a manifest of which nobody can tell.
fn is_driver(folder: &Path) -> bool {
    let file = folder.join("plugin.toml");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return false;
    };
    Manifest::parse(&text, &file).map_or(true, |manifest| manifest.kind == PluginKind::Driver)
}
