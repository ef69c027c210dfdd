//! What may be pushed: policies over what is known of a manifest before it gets its place.
//!
//! What an expression sees: as name the repository with the tag, or with the digest; digest, media type and size of the manifest;
//! its annotations; as labels and platform those in the image's configuration; as kind `image`, `index` or `artifact`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;
use transom_meta::Labels;
use transom_meta::filter::{FilterError, Plugins};
use transom_meta::policy::{Judged, Policies, Policy};
use transom_oci::limits::CONFIG_BYTES_MAX;
use transom_oci::{Algorithm, Descriptor, Digest, Platform, media_type};

use crate::Error;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::names::RepositoryName;
use crate::settings::SetupError;
use crate::store::{ManifestPush, Store};

/// `[admission]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The policies by their names, all of which must hold of a manifest that is pushed.
    #[serde(default)]
    pub policies: BTreeMap<String, Expression>,
}

/// `[admission.policies.NAME]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Expression {
    /// The filter plugin that understands it.
    pub plugin: String,
    /// What must hold.
    pub expression: String,
}

/// Decides what may be pushed. The default lets everything in. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    settings: Arc<Settings>,
    policies: Arc<RwLock<Policies>>,
}

impl Admission {
    /// Reads the expressions, in the languages of these plugins.
    ///
    /// # Errors
    /// [`SetupError::Setting`]: a registry that cannot ask a policy must not take what the policy might refuse.
    pub fn new(settings: &Settings, plugins: &Plugins) -> Result<Admission, SetupError> {
        let admission = Admission {
            settings: Arc::new(settings.clone()),
            policies: Arc::default(),
        };
        let policies = admission.compile(plugins).map_err(|(name, error)| {
            let setting = format!("admission.policies.{name}");
            SetupError::setting(setting, error.to_string())
        })?;
        admission.replace(policies);
        Ok(admission)
    }

    /// Reads the same expressions in the languages of other plugins, such as new versions. Nobody is asked by them yet.
    ///
    /// # Errors
    /// The name of the policy that cannot be asked, and why.
    pub fn compile(&self, plugins: &Plugins) -> Result<Policies, (String, FilterError)> {
        let policies = self.settings.policies.iter().map(|(name, of)| Policy {
            name: name.clone(),
            plugin: of.plugin.clone(),
            expression: of.expression.clone(),
        });
        Policies::compile(policies, plugins)
    }

    /// From now on these are asked. A push that is being judged ends with those that it began with.
    pub fn replace(&self, policies: Policies) {
        *self.policies.write().unwrap_or_else(PoisonError::into_inner) = policies;
    }

    fn now(&self) -> Policies {
        self.policies
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Decides about a manifest that is pushed. Each name that it would get is asked about.
    ///
    /// # Errors
    /// [`Error::NotAdmitted`]; [`Error::ManifestInvalid`], and [`Error::ReferencesUnknown`] if its configuration is not there, in
    /// which case nobody could judge it.
    pub(crate) async fn judge(
        &self,
        store: &Store,
        repository: &RepositoryName,
        push: &ManifestPush<'_>,
    ) -> Result<()> {
        let policies = self.now();
        if policies.is_empty() {
            return Ok(());
        }
        let arrived = look(store, repository, push).await?;
        let names: Vec<String> = match push.tags {
            [] => vec![format!("{repository}@{}", arrived.digest)],
            tags => tags.iter().map(|tag| format!("{repository}:{tag}")).collect(),
        };
        for name in names {
            let arrived = Judged {
                name: name.clone(),
                ..arrived.clone()
            };
            policies.judge(arrived).await.map_err(|refusal| {
                tracing::warn!(name, %refusal, "a push is refused");
                Error::NotAdmitted { name, refusal }
            })?;
        }
        Ok(())
    }
}

/// What policies need of a configuration.
#[derive(Default, Deserialize)]
struct ImageConfig {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<ContainerConfig>,
}

#[derive(Default, Deserialize)]
struct ContainerConfig {
    #[serde(default, rename = "Labels")]
    labels: Option<Labels>,
}

/// What is known of a manifest that is pushed, but for its name.
async fn look(store: &Store, repository: &RepositoryName, push: &ManifestPush<'_>) -> Result<Judged> {
    let manifest = Manifest::read(&push.bytes)?;
    let media_type = push.media_type.map(crate::manifest::plain_type);
    let media_type = media_type.filter(|said| !said.is_empty());
    let media_type = media_type.or_else(|| manifest.shown_type().map(str::to_owned));
    let media_type = media_type.unwrap_or_default();
    let digest = push.digest.cloned();
    let digest = digest.unwrap_or_else(|| Digest::of(Algorithm::Sha256, &push.bytes));
    let config = manifest.config.as_ref();
    let config = config.filter(|of| media_type::is_image_config(&of.media_type));
    let kind = match config {
        Some(_) => "image",
        None if media_type::is_index(&media_type) => "index",
        None => "artifact",
    };
    let config = match config {
        Some(of) => read(store, repository, of).await?,
        None => ImageConfig::default(),
    };
    let known = !config.os.is_empty() && !config.architecture.is_empty();
    let platform = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
    Ok(Judged {
        kind,
        name: String::new(),
        digest: digest.to_string(),
        media_type,
        size: push.bytes.len() as u64,
        annotations: manifest.annotations,
        labels: config.config.and_then(|config| config.labels).unwrap_or_default(),
        platform: known.then(|| platform.to_string()),
    })
}

/// The configuration, which must be there before the manifest.
async fn read(store: &Store, repository: &RepositoryName, of: &Descriptor) -> Result<ImageConfig> {
    let blob = store
        .blob(repository, &of.digest)
        .await
        .map_err(|error| match error {
            Error::BlobUnknown { digest, .. } => Error::ReferencesUnknown(vec![digest]),
            error => error,
        })?;
    if blob.size > CONFIG_BYTES_MAX {
        let reason =
            format!("its configuration has more than {CONFIG_BYTES_MAX} bytes, so that no policy can see it");
        return Err(Error::ManifestInvalid(reason));
    }
    let bytes = store.driver().get(&blob.path, CONFIG_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let reason = format!("its configuration, which policies must see, cannot be read: {error}");
        Error::ManifestInvalid(reason)
    })
}
