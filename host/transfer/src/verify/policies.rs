//! Policies: expressions that a filter plugin understands, over what is known of an image before it is pulled.
//!
//! What an expression sees: the name as it was asked for; digest, media type and size of what the name stands for; as
//! annotations those of that document and of the manifest for the platform that is wanted; as labels those in the image's
//! configuration.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use transom_client::Remote;
use transom_meta::Labels;
use transom_meta::filter::{Facts, Fields, FilterError, Filters, Plugins, label};
use transom_meta::kv::Pending;
use transom_oci::{Descriptor, Platform, media_type};

use super::{Judgement, Subject, Verifier};

/// An expression that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name, for those who are refused.
    pub name: String,
    /// The filter plugin that understands it.
    pub plugin: String,
    /// The expression.
    pub expression: String,
}

/// Policies, ready to be asked.
#[derive(Debug)]
pub struct Policies {
    policies: Vec<(Policy, Arc<Filters>)>,
}

impl Policies {
    /// Reads the expressions.
    ///
    /// # Errors
    /// The name of the policy and why its expression cannot be used: a policy that cannot be asked must not let
    /// everything through.
    pub fn compile(policies: Vec<Policy>, plugins: &Plugins) -> Result<Policies, (String, FilterError)> {
        let compile = |policy: Policy| {
            let quoted = policy.expression.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("wasm.{}==\"{quoted}\"", policy.plugin);
            match Filters::compile(&[text], plugins) {
                Ok(filters) => Ok((policy, Arc::new(filters))),
                Err(error) => Err((policy.name, error)),
            }
        };
        let policies = policies.into_iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Policies { policies })
    }
}

impl Verifier for Policies {
    fn name(&self) -> &str {
        "policies"
    }

    fn verify<'a>(&'a self, subject: &'a Subject<'a>) -> Pending<'a, Result<Judgement, String>> {
        Box::pin(self.judge(subject))
    }
}

impl Policies {
    async fn judge(&self, subject: &Subject<'_>) -> Result<Judgement, String> {
        let found = Found::look(subject).await.map_err(|error| error.to_string())?;
        let found = Arc::new(found);
        for (policy, filters) in &self.policies {
            let (filters, found) = (Arc::clone(filters), Arc::clone(&found));
            let matches = tokio::task::spawn_blocking(move || filters.matches(&*found)).await;
            let matches = matches.map_err(|error| format!("internal fault: {error}"))?;
            let failed = |error: FilterError| format!("policy {:?}: {error}", policy.name);
            if !matches.map_err(failed)? {
                return Ok(Judgement {
                    allowed: false,
                    reason: format!(
                        "policy {:?} does not hold: {} ({})",
                        policy.name, policy.expression, policy.plugin
                    ),
                });
            }
        }
        Ok(Judgement {
            allowed: true,
            reason: format!("{} policies hold", self.policies.len()),
        })
    }
}

/// What is known of an image.
#[derive(Debug)]
struct Found {
    name: String,
    descriptor: Descriptor,
    annotations: Labels,
    labels: Labels,
}

/// What policies need of a document.
#[derive(Default, Deserialize)]
struct Document {
    #[serde(default)]
    annotations: Option<Labels>,
    #[serde(default)]
    config: Option<serde_json::Value>,
}

impl Found {
    async fn look(subject: &Subject<'_>) -> Result<Found, transom_client::Error> {
        let (remote, root) = (subject.remote, subject.descriptor);
        let mut annotations = root.annotations.clone();
        let document = document(remote, root).await?;
        annotations.extend(document.annotations.unwrap_or_default());
        let host = Platform::host();
        let platform = subject.platform.unwrap_or(&host);
        let mut config = document.config;
        if media_type::is_index(&root.media_type) {
            config = None;
            match remote.for_platform(root.clone(), platform).await {
                Ok(manifest) => {
                    let document = self::document(remote, &manifest).await?;
                    annotations.extend(document.annotations.unwrap_or_default());
                    config = document.config;
                }
                // Then there is no more to be known, nor to be unpacked.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Found {
            name: subject.name.to_owned(),
            descriptor: root.clone(),
            annotations,
            labels: labels(remote, config).await?,
        })
    }
}

async fn document(remote: &Remote, of: &Descriptor) -> Result<Document, transom_client::Error> {
    let fetched = remote.manifest(of.digest.as_str()).await?;
    // One that is no document is refused when it is pulled.
    Ok(serde_json::from_slice(&fetched.bytes).unwrap_or_default())
}

/// The labels in a configuration; none if it is not one of an image.
async fn labels(remote: &Remote, config: Option<serde_json::Value>) -> Result<Labels, transom_client::Error> {
    let descriptor = config.and_then(|config| serde_json::from_value::<Descriptor>(config).ok());
    let Some(descriptor) = descriptor.filter(|of| media_type::is_image_config(&of.media_type)) else {
        return Ok(Labels::new());
    };
    let bytes = remote.small_blob(&descriptor).await?;
    let config: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let labels = config.get("config").and_then(|config| config.get("Labels"));
    let labels = labels.and_then(|labels| serde_json::from_value(labels.clone()).ok());
    Ok(labels.unwrap_or_default())
}

impl Fields for Found {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name", ..] => Some(Cow::Borrowed(&self.name)),
            ["digest", ..] => Some(Cow::Borrowed(self.descriptor.digest.as_str())),
            ["labels", key @ ..] => label(&self.labels, key),
            ["annotations", key @ ..] => label(&self.annotations, key),
            _ => None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "image",
            name: Some(Cow::Borrowed(&self.name)),
            digest: Some(Cow::Borrowed(self.descriptor.digest.as_str())),
            media_type: Some(Cow::Borrowed(&self.descriptor.media_type)),
            size: Some(self.descriptor.size),
            labels: Some(&self.labels),
            annotations: Some(&self.annotations),
            ..Facts::default()
        }
    }
}
