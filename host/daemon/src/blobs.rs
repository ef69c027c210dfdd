//! The content store of the configuration: a folder, or a storage driver with copies in the folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use transom_content::{Remote, Store};
use transom_plugin::storage::register_drivers;
use transom_storage::Factory;

use crate::Failure;
use crate::config::Config;
use crate::plugins::Engine;
use crate::remote::OnDriver;

/// Opens it.
pub(crate) async fn open(config: &Config) -> Result<Store, Failure> {
    let root = transom_content::content_root(&config.root);
    let Some(table) = config.content.driver.clone() else {
        return Ok(Store::open_alone(root)?);
    };
    let (folders, daemon_root) = (config.content.plugins.clone(), config.root.clone());
    let copies = config.content.copies;
    let runtime = Handle::current();
    let opened = tokio::task::spawn_blocking(move || {
        let factory = drivers(&folders, &daemon_root)?;
        let remote: Arc<dyn Remote> = Arc::new(OnDriver::open(&factory, &table, runtime)?);
        Ok(Store::open_on(root, remote, copies)?)
    });
    opened
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The drivers of the program and those that are plugins, each of which must be good.
fn drivers(folders: &[PathBuf], root: &Path) -> Result<Factory, Failure> {
    let mut factory = Factory::builtin();
    if folders.is_empty() {
        return Ok(factory);
    }
    let engine = Engine::new(root);
    let host = engine
        .host()
        .map_err(|error| Failure::ContentDriver(error.to_string()))?;
    let (_, refused) = register_drivers(host, &mut factory, folders);
    match refused.into_iter().next() {
        Some(refused) => Err(Failure::ContentDriver(refused.to_string())),
        None => Ok(factory),
    }
}
