//! Who must allow an image before it is pulled, and before it gets a name, as configured.

use std::sync::Arc;

use transom_meta::filter::Plugins;
use transom_meta::images::Admission;
use transom_meta::policy::{Policies, Policy};
use transom_transfer::Verifiers;
use transom_transfer::verify::{ImagePolicies, Programs, PullPolicies, Verifier};

use crate::Failure;
use crate::config::Config;

/// The verifiers of a configuration.
///
/// # Errors
/// [`Failure::Policy`]: a daemon without a policy that somebody wanted would pull what it must not.
pub fn of(config: &Config, plugins: &Plugins) -> Result<Verifiers, Failure> {
    let settings = &config.verifiers;
    let mut all: Vec<Arc<dyn Verifier>> = Vec::new();
    if let Some(folder) = &settings.bin_dir {
        all.push(Arc::new(Programs {
            folder: folder.clone(),
            most: Some(settings.max_verifiers),
            timeout: settings.per_verifier_timeout,
        }));
    }
    if !settings.policies.is_empty() {
        all.push(Arc::new(PullPolicies(compiled(&settings.policies, plugins)?)));
    }
    Ok(Verifiers(all))
}

/// Who is asked before an image gets a name; nobody if that is not configured.
///
/// # Errors
/// [`Failure::Policy`].
pub fn admission(config: &Config, plugins: &Plugins) -> Result<Option<Arc<dyn Admission>>, Failure> {
    let policies = &config.admission.policies;
    if policies.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(ImagePolicies(compiled(policies, plugins)?))))
}

fn compiled(policies: &[Policy], plugins: &Plugins) -> Result<Policies, Failure> {
    let compiled = Policies::compile(policies.to_vec(), plugins);
    compiled.map_err(|(name, source)| Failure::Policy { name, source })
}
