//! Who must allow an image before it is pulled, as configured, with the filters of now.

use std::sync::{Arc, PoisonError, RwLock};

use transom_meta::filter::{FilterError, Plugins};
use transom_meta::kv::Pending;
use transom_transfer::Verifiers;
use transom_transfer::verify::{Judgement, Policies, Programs, Subject, Verifier};

use crate::config;

/// Who judges images now. Clones are the same; a pull that has begun goes on with those who judged it.
#[derive(Clone, Debug, Default)]
pub struct Current {
    programs: Slot<Programs>,
    policies: Slot<Policies>,
}

/// Those of one configuration and one set of filters.
#[derive(Debug, Default)]
pub struct Chosen {
    programs: Option<Programs>,
    policies: Option<Policies>,
}

impl Chosen {
    /// The verifiers of a configuration.
    ///
    /// # Errors
    /// The name of a policy that cannot be asked, and why: a daemon without a policy that somebody wanted would pull what it
    /// must not.
    pub fn of(settings: &config::Verifiers, plugins: &Plugins) -> Result<Chosen, (String, FilterError)> {
        let programs = settings.bin_dir.as_ref().map(|folder| Programs {
            folder: folder.clone(),
            most: Some(settings.max_verifiers),
            timeout: settings.per_verifier_timeout,
        });
        let policies = match settings.policies.is_empty() {
            true => None,
            false => Some(Policies::compile(settings.policies.clone(), plugins)?),
        };
        Ok(Chosen { programs, policies })
    }
}

impl Current {
    /// From now on these.
    pub fn replace(&self, chosen: Chosen) {
        self.programs.replace(chosen.programs);
        self.policies.replace(chosen.policies);
    }

    /// For pulls.
    #[must_use]
    pub fn verifiers(&self) -> Verifiers {
        Verifiers(vec![
            Arc::new(self.programs.clone()),
            Arc::new(self.policies.clone()),
        ])
    }
}

/// A verifier that can be replaced, or taken away.
#[derive(Debug)]
struct Slot<V> {
    current: Arc<RwLock<Option<Arc<V>>>>,
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Self {
        Slot {
            current: Arc::clone(&self.current),
        }
    }
}

impl<V> Default for Slot<V> {
    fn default() -> Self {
        Slot {
            current: Arc::default(),
        }
    }
}

impl<V> Slot<V> {
    fn replace(&self, verifier: Option<V>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = verifier.map(Arc::new);
    }

    fn now(&self) -> Option<Arc<V>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The name of a verifier, which errors show.
trait Named {
    const NAME: &'static str;
}

impl Named for Programs {
    const NAME: &'static str = "bindir";
}

impl Named for Policies {
    const NAME: &'static str = "policies";
}

impl<V: Verifier + Named> Verifier for Slot<V> {
    fn name(&self) -> &str {
        V::NAME
    }

    fn verify<'a>(&'a self, subject: &'a Subject<'a>) -> Pending<'a, Result<Judgement, String>> {
        Box::pin(async move {
            match self.now() {
                Some(verifier) => verifier.verify(subject).await,
                None => Ok(Judgement {
                    allowed: true,
                    reason: "none is configured".to_owned(),
                }),
            }
        })
    }
}
