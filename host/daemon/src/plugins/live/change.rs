//! Plugins that are installed, taken back and removed.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use transom_oci::Digest;
use transom_plugin::Loaded;
use transom_plugin::limits::INSTALLED_MAX;
use transom_plugin::manifest::PluginKind;

use super::super::installed::Found;
use super::super::record::{Item, Pin, Record};
use super::super::set::{Broken, Origin};
use super::super::trouble::Trouble;
use super::{Changed, Live, Next, State, installed_into};

impl Live {
    /// Installs an artifact that is in the content store.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn install(
        &self,
        manifest: &Digest,
        source: &str,
        signatures: &[Digest],
    ) -> Result<Changed, Trouble> {
        Trouble::check(source, signatures.len())?;
        let mut state = self.inner.state.lock().await;
        let found = state.installed()?.find(manifest, signatures).await?;
        let loaded = self.admit(&state, &found).await?;
        let pin = Pin {
            version: loaded.version().to_owned(),
            manifest: manifest.clone(),
            component: loaded.digest().clone(),
            source: source.to_owned(),
            installed: now(),
            signatures: signatures.to_vec(),
        };
        self.take(&mut state, loaded, pin, &found).await
    }

    /// Goes back to the version before.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn roll_back(&self, name: &str) -> Result<Changed, Trouble> {
        let mut state = self.inner.state.lock().await;
        let item = self.item(&state, name)?;
        let Some(pin) = item.previous else {
            return Err(Trouble::NoPrevious(name.to_owned()));
        };
        let found = state.installed()?.find(&pin.manifest, &pin.signatures).await?;
        let loaded = self.admit(&state, &found).await?;
        self.take(&mut state, loaded, pin, &found).await
    }

    /// Takes an installed plugin out of use.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn remove(&self, name: &str) -> Result<Changed, Trouble> {
        let mut state = self.inner.state.lock().await;
        self.item(&state, name)?;
        let plugin = self.view_of(name)?;
        let users = self.inner.opened.users(name);
        if !users.is_empty() && plugin.kind == PluginKind::Driver {
            return Err(Trouble::Needed {
                name: name.to_owned(),
                by: users.join(" and "),
            });
        }
        let mut loaded = state.loaded.clone();
        loaded.remove(name);
        let next = self.with_loaded(&state, &loaded).await?;
        let record = state.installed()?.record.without(name);
        state.installed_mut()?.write(record).await?;
        state.loaded = loaded;
        self.publish(&state, next);
        tracing::info!(plugin = name, "a plugin was removed");
        Ok(Changed {
            plugin,
            replaced: None,
        })
    }
}

impl Live {
    /// Takes a version into use.
    async fn take(
        &self,
        state: &mut State,
        plugin: Loaded,
        pin: Pin,
        found: &Found,
    ) -> Result<Changed, Trouble> {
        let (name, kind) = (plugin.name().to_owned(), plugin.kind());
        self.check_name(state, &plugin)?;
        let mut loaded = state.loaded.clone();
        loaded.insert(name.clone(), Ok(plugin));
        let record = state.installed()?.record.with(&name, kind, pin.clone());
        let next = self.with_record(state, &record, &loaded).await?;
        let is_ours = |broken: &&Broken| broken.name == name && broken.origin == Origin::Installed;
        if let Some(Broken { error, .. }) = next.set.broken.iter().find(is_ours) {
            let reason = error.clone();
            return Err(Trouble::Unfit { name, reason });
        }
        let replaced = state
            .installed()?
            .record
            .find(&name)
            .map(|item| item.current.clone());
        let replaced = replaced.filter(|replaced| replaced.manifest != pin.manifest);
        state.installed()?.keep(&name, &pin, found).await?;
        state.installed_mut()?.write(record).await?;
        state.loaded = loaded;
        self.publish(state, next);
        tracing::info!(
            plugin = name,
            version = pin.version,
            manifest = %pin.manifest,
            replaced = replaced.as_ref().map(|pin| pin.version.as_str()),
            "a plugin was installed"
        );
        let plugin = self.view_of(&name)?;
        Ok(Changed { plugin, replaced })
    }

    /// Whether an installed plugin may have this name.
    fn check_name(&self, state: &State, plugin: &Loaded) -> Result<(), Trouble> {
        let record = &state.installed()?.record;
        let item = record.find(plugin.name());
        if item.is_none() && record.plugins.len() >= INSTALLED_MAX {
            return Err(Trouble::Full);
        }
        let set = self.inner.shelf.now();
        let Some(entry) = set.find(plugin.name()) else {
            return Ok(());
        };
        let is_other = entry.used.kind() != plugin.kind();
        match &entry.candidate.origin {
            Origin::Installed if !is_other => Ok(()),
            origin => Err(Trouble::Taken {
                name: plugin.name().to_owned(),
                kind: entry.used.kind().as_str(),
                of: origin.to_string().into(),
            }),
        }
    }

    fn item(&self, state: &State, name: &str) -> Result<Item, Trouble> {
        let item = state.installed()?.record.find(name);
        item.cloned().ok_or_else(|| Trouble::NotInstalled {
            name: name.to_owned(),
            folder: self.inner.shelf.now().find(name).is_some(),
        })
    }

    /// The next set, with other installed plugins.
    async fn with_loaded(
        &self,
        state: &State,
        loaded: &BTreeMap<String, Result<Loaded, String>>,
    ) -> Result<Next, Trouble> {
        let record = state.installed()?.record.clone();
        self.with_record(state, &record, loaded).await
    }

    async fn with_record(
        &self,
        state: &State,
        record: &Record,
        loaded: &BTreeMap<String, Result<Loaded, String>>,
    ) -> Result<Next, Trouble> {
        let set = self.inner.shelf.now();
        let (mut candidates, mut broken) = set.of_folders();
        installed_into(record, loaded, &mut candidates, &mut broken);
        self.next(state, &state.config, candidates, broken).await
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map(|now| now.as_secs()).unwrap_or_default()
}
