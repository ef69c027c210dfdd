//! What the configuration grants to a plugin.

use transom_plugin::Loaded;
use transom_plugin::grants::{self, Given, Grant};

use crate::config::Config;

/// The powers that a plugin can have, and which of them it has.
#[must_use]
pub fn of(config: &Config, plugin: &Loaded) -> Vec<Grant> {
    let keys = config.processors.keys.get(plugin.name());
    let mut given = Given {
        keys: keys.cloned().unwrap_or_default(),
        ..Given::default()
    };
    if let Some(registry) = &config.registry {
        given = given.with_storage(&registry.settings.storage, plugin.name());
    }
    if let Some(table) = &config.content.driver {
        given = given.with_storage(table, plugin.name());
    }
    grants::of(plugin.manifest(), &given)
}
