//! Who must allow an image before it is pulled, as configured.

use std::sync::Arc;

use transom_meta::filter::Plugins;
use transom_transfer::Verifiers;
use transom_transfer::verify::{Policies, Programs, Verifier};

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
        let policies = Policies::compile(settings.policies.clone(), plugins);
        let policies = policies.map_err(|(name, source)| Failure::Policy { name, source })?;
        all.push(Arc::new(policies));
    }
    Ok(Verifiers(all))
}
