//! The configuration, read again: as a whole, or not at all.

use super::super::set::Broken;
use super::super::trouble::Trouble;
use super::super::{blocking, folders};
use super::{Live, Next, State, read_policy};
use crate::processors;
use crate::reload::{self, Reloaded};

impl Live {
    /// Reads the configuration again.
    ///
    /// # Errors
    /// [`Trouble`]: then all goes on as before.
    pub async fn reload(&self) -> Result<Reloaded, Trouble> {
        let mut state = self.inner.state.lock().await;
        let reloaded = self.try_reload(&mut state).await;
        match &reloaded {
            Ok(Reloaded {
                changed,
                restart,
                problems,
            }) => {
                tracing::info!(?changed, "the configuration was read again");
                if !restart.is_empty() {
                    tracing::warn!(?restart, "what has changed here needs a restart");
                }
                for problem in problems {
                    tracing::warn!(problem, "what could not be changed");
                }
            }
            Err(error) => tracing::error!(%error, "the configuration was read again, and not taken"),
        }
        reloaded
    }
}

impl Live {
    async fn try_reload(&self, state: &mut State) -> Result<Reloaded, Trouble> {
        let reread = self.inner.reloading.reread.clone();
        let read = blocking(move || reread()).await.map_err(Trouble::Configuration)?;
        let comparison = reload::compare(&state.config, &read);
        let config = comparison.effective;
        let policy = read_policy(&config, self.inner.reloading.policy.as_deref())?;
        let before = self.inner.shelf.now();
        let (engine, wanted) = (self.inner.engine.clone(), config.clone());
        let mut found = blocking(move || folders::load_again(&wanted, &engine, &before)).await;
        let is_another = policy != state.policy;
        let old = std::mem::replace(&mut state.policy, policy);
        let loaded = state.loaded.clone();
        if is_another {
            self.load_installed(state).await;
        }
        state.installed_into(&mut found.candidates, &mut found.broken);
        let next = self.next(state, &config, found.candidates, found.broken).await;
        let next = next.and_then(|next| self.still_fit(next));
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                state.policy = old;
                state.loaded = loaded;
                return Err(error);
            }
        };
        let problems = next
            .set
            .broken
            .iter()
            .map(|broken| format!("{}: {}", broken.name, broken.error));
        let held = next
            .set
            .held
            .iter()
            .map(|(name, error)| format!("{name}: {error}; it goes on, as the storage stands on it"));
        let problems = problems.chain(found.kept).chain(held).collect();
        if let Some(log) = &self.inner.reloading.log {
            log.set(config.log.level);
        }
        processors::warn_of_absent(&config, &next.set);
        state.config = config;
        self.publish(state, next);
        Ok(Reloaded {
            changed: comparison.changed,
            restart: comparison.restart,
            problems,
        })
    }

    /// A configuration that breaks a plugin which works is not taken.
    fn still_fit(&self, next: Next) -> Result<Next, Trouble> {
        let before = self.inner.shelf.now();
        let breaks = |broken: &&Broken| broken.unfit && before.find(&broken.name).is_some();
        match next.set.broken.iter().find(breaks) {
            Some(Broken { name, error, .. }) => Err(Trouble::Configuration(format!("{name}: {error}"))),
            None => Ok(next),
        }
    }
}
