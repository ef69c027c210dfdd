//! The registry that runs in the daemon: its own repositories, the caches of others, and images of namespaces, to be read only.
//!
//! `names` says which repository an image is in, `reach` what an image leads to, `images` answers the registry's questions.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use transom_meta::Metadata;
use transom_meta::filter::Plugins;
use transom_registry::run::Running;
use transom_registry::source::Source;
use transom_storage::Factory;

use crate::Failure;
use crate::config::Registry;
use crate::parts::Part;
use crate::places;

mod images;
mod names;
mod reach;

pub use images::Images;

/// Opens what is configured, and listens. `factory` has the storage drivers, `metadata` the images of the namespaces; policies are in the
/// languages of `filters`.
///
/// # Errors
/// [`Failure::Registry`].
pub async fn open(
    registry: &Registry,
    root: &Path,
    factory: &Factory,
    metadata: Option<&Metadata>,
    filters: &Plugins,
) -> Result<Running, Failure> {
    let mut settings = registry.settings.clone();
    if settings.storage.is_empty() {
        let (storage, read_only) = match only_images(registry) {
            // There is nowhere to push to.
            true => (memory(), true),
            false => (files(root), false),
        };
        settings.storage = storage;
        settings.read_only |= read_only;
    }
    settings
        .state
        .get_or_insert_with(|| places::registry(root).join("state"));
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    if let Some(metadata) = metadata.filter(|_| !registry.namespaces.is_empty()) {
        sources.push(Arc::new(Images::new(metadata.clone(), &registry.namespaces)?));
    }
    let running = Running::open_with(&settings, factory, sources, filters).await;
    running.map_err(|error| Failure::Registry(Box::new(error)))
}

/// The registry as a part of the daemon.
#[must_use]
pub fn part(registry: &Registry, address: Option<SocketAddr>) -> Part {
    let driver = registry.settings.storage.get("driver").and_then(Value::as_str);
    let driver = driver.unwrap_or(match only_images(registry) {
        true => "none",
        false => "filesystem",
    });
    let mut part = Part::registry("http").exports("Driver", driver);
    if let Some(address) = address {
        part = part.exports("Address", address.to_string());
    }
    if registry.namespaces.is_empty() {
        return part;
    }
    part.exports("Namespaces", registry.namespaces.join(","))
        .requires(&["content", "metadata"])
}

/// Whether nothing is to be kept, as far as anybody has said.
fn only_images(registry: &Registry) -> bool {
    !registry.namespaces.is_empty() && registry.settings.proxy.is_empty()
}

/// Files below the daemon's root.
fn files(root: &Path) -> Map<String, Value> {
    let folder = places::registry(root).join("storage").display().to_string();
    Map::from_iter([
        ("driver".to_owned(), "filesystem".into()),
        ("rootdirectory".to_owned(), folder.into()),
    ])
}

fn memory() -> Map<String, Value> {
    Map::from_iter([("driver".to_owned(), "inmemory".into())])
}
