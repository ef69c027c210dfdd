//! Storage drivers: opened for those who stand on them, replaced in their places, and kept as long as they are needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use transom_plugin::Loaded;
use transom_plugin::manifest::PluginKind;
use transom_plugin::storage::{self, Exchange, OpenDrivers};
use transom_storage::Factory;

use super::super::set::{Broken, Candidate, Entry, Set};
use super::super::trouble::Trouble;
use super::super::{blocking, folders};
use super::Live;
use crate::Failure;

impl Live {
    /// Loads the storage drivers that the content store may stand on, before anything else can be loaded.
    ///
    /// # Errors
    /// [`Failure::ContentDriver`]: each must be good.
    pub async fn begin_content(&self) -> Result<Factory, Failure> {
        let config = self.inner.state.lock().await.config.clone();
        let (engine, watches) = (self.inner.engine.clone(), self.inner.watches.clone());
        let set = blocking(move || {
            let found = folders::load_of_content(&config, &engine);
            Set::of(&config, found.candidates, found.broken, &watches, &Set::default())
        })
        .await;
        if let Some(Broken { origin, error, .. }) = set.broken.first() {
            let text = format!("the storage driver {origin} cannot be used: {error}");
            return Err(Failure::ContentDriver(text));
        }
        self.inner.shelf.replace(Arc::new(set));
        Ok(self.factory("[content.driver]"))
    }

    /// The storage drivers of now. What `user`, a setting of the configuration, opens with it follows their versions.
    #[must_use]
    pub fn factory(&self, user: &str) -> Factory {
        self.inner.shelf.now().factory(&self.inner.opened, user)
    }
}

impl Live {
    /// Opens and tries the storage drivers that are not as they were.
    pub(super) async fn exchange(&self, before: &Set, set: &Set) -> Result<Exchange, Trouble> {
        let mut exchange = Exchange::default();
        for entry in &set.entries {
            let was = before.find(entry.used.name());
            let is_as_it_was = was.is_some_and(|was| Arc::ptr_eq(&was.watch, &entry.watch));
            if let (Loaded::Driver(plugin), false) = (&entry.used, is_as_it_was) {
                let around = storage::watched(plugin, &entry.watch);
                exchange.and(self.inner.opened.prepare(plugin, &around).await?);
            }
        }
        Ok(exchange)
    }
}

/// Storage drivers that somebody stands on go on as they are if there is nothing of their name any more. Gives why, by name.
pub(super) fn held(
    before: &Set,
    opened: &OpenDrivers,
    candidates: &mut Vec<Candidate>,
    broken: &mut Vec<Broken>,
) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    let is_driver = |entry: &&Arc<Entry>| entry.used.kind() == PluginKind::Driver;
    for entry in before.entries.iter().filter(is_driver) {
        let name = entry.used.name();
        let is_there = candidates.iter().any(|candidate| {
            candidate.loaded.name() == name && candidate.loaded.kind() == PluginKind::Driver
        });
        if is_there || opened.users(name).is_empty() {
            continue;
        }
        let at = broken
            .iter()
            .position(|broken| broken.name == name && broken.kind == PluginKind::Driver);
        let error = at.map(|at| broken.remove(at).error);
        held.insert(
            name.to_owned(),
            error.unwrap_or_else(|| "it is not there any more".to_owned()),
        );
        candidates.push(entry.candidate.clone());
    }
    held
}
