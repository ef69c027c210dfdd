//! Who must allow an image before it is pulled, and before it gets a name, as configured, with the filters of now.

use std::sync::{Arc, PoisonError, RwLock};

use transom_meta::filter::{FilterError, Plugins};
use transom_meta::images::{Admission, Image};
use transom_meta::kv::Pending;
use transom_meta::policy::{Policies, Policy, Refusal};
use transom_meta::{Caller, Metadata};
use transom_transfer::Verifiers;
use transom_transfer::verify::{ImagePolicies, Judgement, Programs, PullPolicies, Subject, Verifier};

use crate::config::Config;
use crate::plugins::installed::NAMESPACE;

/// Who judges images now. Clones are the same; what has begun goes on with those who judged it.
#[derive(Clone, Debug, Default)]
pub struct Current {
    programs: Slot<Programs>,
    pulls: Slot<PullPolicies>,
    images: Slot<ImagePolicies>,
}

/// Those of one configuration and one set of filters.
#[derive(Debug, Default)]
pub struct Chosen {
    programs: Option<Programs>,
    pulls: Option<PullPolicies>,
    images: Option<ImagePolicies>,
}

impl Chosen {
    /// Those of a configuration.
    ///
    /// # Errors
    /// The name of a policy that cannot be asked, and why: a daemon without a policy that somebody wanted would let in what it
    /// must not.
    pub fn of(config: &Config, plugins: &Plugins) -> Result<Chosen, (String, FilterError)> {
        let settings = &config.verifiers;
        let programs = settings.bin_dir.as_ref().map(|folder| Programs {
            folder: folder.clone(),
            most: Some(settings.max_verifiers),
            timeout: settings.per_verifier_timeout,
        });
        Ok(Chosen {
            programs,
            pulls: compiled(&settings.policies, plugins)?.map(PullPolicies),
            images: compiled(&config.admission.policies, plugins)?.map(ImagePolicies),
        })
    }
}

/// The policies, if there are any.
fn compiled(policies: &[Policy], plugins: &Plugins) -> Result<Option<Policies>, (String, FilterError)> {
    if policies.is_empty() {
        return Ok(None);
    }
    Policies::compile(policies.to_vec(), plugins).map(Some)
}

impl Current {
    /// From now on these.
    pub fn replace(&self, chosen: Chosen) {
        self.programs.replace(chosen.programs);
        self.pulls.replace(chosen.pulls);
        self.images.replace(chosen.images);
    }

    /// For pulls.
    #[must_use]
    pub fn verifiers(&self) -> Verifiers {
        Verifiers(vec![
            Arc::new(self.programs.clone()),
            Arc::new(self.pulls.clone()),
        ])
    }
}

impl Admission for Current {
    fn asks(&self) -> bool {
        self.images.now().is_some()
    }

    fn admit<'a>(
        &'a self,
        metadata: &'a Metadata,
        caller: &'a Caller,
        image: &'a Image,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            // What keeps an installed plugin is no image; the policy for signatures has let it in.
            if caller.namespace.as_str() == NAMESPACE {
                return Ok(());
            }
            match self.images.now() {
                Some(policies) => policies.admit(metadata, caller, image).await,
                None => Ok(()),
            }
        })
    }
}

/// Somebody who judges, and can be replaced or taken away.
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
    fn replace(&self, judge: Option<V>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = judge.map(Arc::new);
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

impl Named for PullPolicies {
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
