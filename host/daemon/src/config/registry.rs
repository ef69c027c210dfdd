//! `[registry]`: the registry that runs in the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Map;
use transom_registry::config::Config;

use super::section::{Faults, Section};

/// `[registry]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    /// The namespaces whose images can be read, those first that are asked first.
    pub namespaces: Vec<String>,
    /// The folders that storage drivers are loaded from.
    pub plugins: Vec<PathBuf>,
    /// All else, as in the registry's own file. Without storage: files below the root, or none, if there is nothing but
    /// namespaces.
    pub settings: Config,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry {
            namespaces: Vec::new(),
            plugins: Vec::new(),
            settings: Config::new(Map::new()),
        }
    }
}

impl Registry {
    /// The same at another address.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Registry {
        self.settings.http.listen = address;
        self
    }

    /// Reads the table, if it is there.
    pub(super) fn read(top: &mut Section<'_>, faults: &mut Faults) -> Option<Registry> {
        if !top.has("registry") {
            return None;
        }
        let mut registry = Registry::default();
        let mut section = top.section("registry", faults);
        section.set("namespaces", &mut registry.namespaces, faults);
        for name in &registry.namespaces {
            if let Err(error) = transom_meta::Namespace::new(name) {
                faults.add(section.line(), format!("registry.namespaces: {error}"));
            }
        }
        section.set("plugins", &mut registry.plugins, faults);
        let line = section.line();
        let (text, table) = section.rest();
        match Config::read(text, table) {
            Ok(settings) => {
                let log = &settings.log;
                if (log.level, log.format) != Default::default() {
                    let message =
                        "[registry.log]: level and format are those of [log]; only access is its own";
                    faults.add(line, message.to_owned());
                }
                registry.settings = settings;
            }
            Err(mistake) => faults.add(mistake.line, format!("[registry]: {}", mistake.message)),
        }
        Some(registry)
    }
}
