//! Whom the operator believes: the policy, and the one way by which a plugin of somebody else comes in.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use transom_keys::{KeyError, PublicKey};
use transom_oci::Digest;

use super::{Artifact, Signature};
use crate::error::LoadError;
use crate::host::Host;
use crate::limits::TRUSTED_KEYS_MAX;
use crate::loaded::Loaded;

/// Whether a plugin must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Demand {
    /// It need not be.
    #[default]
    Optional,
    /// By a key that is trusted with plugins of its name.
    Required,
}

/// A key that the operator trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// What the operator calls it.
    pub name: String,
    /// The names of plugins that it may sign, with `*` for any part of a name.
    pub plugins: Vec<String>,
    /// The key.
    pub key: PublicKey,
}

impl TrustedKey {
    fn covers(&self, plugin: &str) -> bool {
        self.plugins.iter().any(|pattern| matches(pattern, plugin))
    }
}

/// What the operator demands of plugins that are installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether they must be signed.
    pub signatures: Demand,
    /// By whom.
    pub keys: Vec<TrustedKey>,
}

/// What is known of where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is signed with trusted keys; these are the operator's names for them.
    Signed(Vec<String>),
    /// No trusted key has signed it, and none has to.
    Unsigned,
}

/// Why a plugin is not let in, or a policy is none.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of a policy cannot be read.
    #[error("cannot read the policy {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of a policy is wrong.
    #[error("the policy {path}: {message}")]
    Policy {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// A key of a policy cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It has no signature at all.
    #[error(
        "{digest} is not signed, and the policy demands it: sign it with `transom plugin sign`, or cosign and a key"
    )]
    Unsigned {
        /// The manifest.
        digest: Digest,
    },
    /// It has signatures, but none by a key that is trusted.
    #[error(
        "none of the {signatures} signatures of {digest} is by a trusted key ({}): add the signer's public key to the policy if \
         you trust it", keys.join(", ")
    )]
    Stranger {
        /// The manifest.
        digest: Digest,
        /// How many signatures there are.
        signatures: usize,
        /// The keys that are trusted.
        keys: Vec<String>,
    },
    /// Who has signed it may sign others, but not this one.
    #[error(
        "{plugin} is signed with {}, which the policy does not trust with plugins of this name; add it to the `plugins` of that key",
        keys.join(", ")
    )]
    NotCovered {
        /// The plugin's name.
        plugin: String,
        /// The keys that have signed it.
        keys: Vec<String>,
    },
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A plugin that was let in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// It, ready to run.
    pub plugin: Loaded,
    /// Why.
    pub trust: Trust,
}

/// A policy as a file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    signatures: Demand,
    #[serde(default)]
    keys: Vec<FileKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    name: String,
    #[serde(default = "every_plugin")]
    plugins: Vec<String>,
    file: Option<std::path::PathBuf>,
    pem: Option<String>,
}

impl FileKey {
    /// Reads the key, from its file in `folder` or from its text.
    fn read(self, folder: &Path, wrong: &dyn Fn(String) -> TrustError) -> Result<TrustedKey, TrustError> {
        let FileKey { name, plugins, .. } = self;
        let (pem, place) = match (self.file, self.pem) {
            (Some(file), None) => {
                let path = folder.join(file);
                let place = path.display().to_string();
                match fs::read_to_string(&path) {
                    Ok(pem) => (pem, place),
                    Err(source) => return Err(KeyError::Read { path, source }.into()),
                }
            }
            (None, Some(pem)) => (pem, format!("the key {name:?}")),
            _ => {
                return Err(wrong(format!(
                    "the key {name:?} must have one of `file` and `pem`"
                )));
            }
        };
        let key = PublicKey::parse(&pem, &place)?;
        Ok(TrustedKey { name, plugins, key })
    }
}

fn every_plugin() -> Vec<String> {
    vec!["*".to_owned()]
}

impl Policy {
    /// Reads the policy in a file: `signatures`, and `[[keys]]` with `name`, `plugins`, and `file` (beside the policy if it is
    /// relative) or `pem`. Keys are read at once.
    ///
    /// # Errors
    ///
    /// [`TrustError::Read`], [`TrustError::Policy`], [`TrustError::Key`].
    pub fn read(path: &Path) -> Result<Policy, TrustError> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| TrustError::Read {
            path: shown.clone(),
            source,
        })?;
        let wrong = |message: String| TrustError::Policy {
            path: shown.clone(),
            message,
        };
        let file: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if file.keys.len() > TRUSTED_KEYS_MAX {
            return Err(wrong(format!("it has more than {TRUSTED_KEYS_MAX} keys")));
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let keys = file.keys.into_iter().map(|key| key.read(folder, &wrong));
        let keys: Vec<TrustedKey> = keys.collect::<Result<_, _>>()?;
        let policy = Policy {
            signatures: file.signatures,
            keys,
        };
        if policy.signatures == Demand::Required && policy.keys.is_empty() {
            return Err(wrong(
                "it demands signatures and trusts no key: add [[keys]]".to_owned(),
            ));
        }
        Ok(policy)
    }

    /// Checks the signatures of an artifact, loads it and checks who may sign a plugin of its name. Of a plugin that must be
    /// signed and is not, nothing is run. This is the one way in, for the daemon and for the command.
    ///
    /// # Errors
    ///
    /// [`TrustError::Unsigned`], [`TrustError::Stranger`], [`TrustError::NotCovered`], [`TrustError::Load`].
    pub fn admit(
        &self,
        host: &Host,
        artifact: &Artifact,
        signatures: &[Signature],
    ) -> Result<Admitted, TrustError> {
        let signers = self.signers(artifact.digest(), signatures)?;
        let plugin = host.load_any(&artifact.component, artifact.manifest.clone())?;
        let trust = self.covered(plugin.name(), &signers)?;
        Ok(Admitted { plugin, trust })
    }

    /// Checks the signatures of an artifact whose plugin's name is known.
    ///
    /// # Errors
    ///
    /// As [`admit`](Policy::admit), but those of loading.
    pub fn check(
        &self,
        digest: &Digest,
        plugin: &str,
        signatures: &[Signature],
    ) -> Result<Trust, TrustError> {
        let signers = self.signers(digest, signatures)?;
        self.covered(plugin, &signers)
    }

    /// The trusted keys that have signed a manifest.
    fn signers(&self, digest: &Digest, signatures: &[Signature]) -> Result<Vec<&TrustedKey>, TrustError> {
        let has_signed = |key: &&TrustedKey| {
            signatures
                .iter()
                .any(|signature| signature.vouches(digest, &key.key))
        };
        let signers: Vec<&TrustedKey> = self.keys.iter().filter(has_signed).collect();
        if !signers.is_empty() || self.signatures == Demand::Optional {
            return Ok(signers);
        }
        let digest = digest.clone();
        Err(match signatures.len() {
            0 => TrustError::Unsigned { digest },
            signatures => TrustError::Stranger {
                digest,
                signatures,
                keys: names(&self.keys.iter().collect::<Vec<_>>()),
            },
        })
    }

    /// What follows from the keys that have signed a plugin.
    fn covered(&self, plugin: &str, signers: &[&TrustedKey]) -> Result<Trust, TrustError> {
        let covering: Vec<&TrustedKey> = signers.iter().copied().filter(|key| key.covers(plugin)).collect();
        match (covering.is_empty(), self.signatures) {
            (false, _) => Ok(Trust::Signed(names(&covering))),
            (true, Demand::Optional) => Ok(Trust::Unsigned),
            (true, Demand::Required) => Err(TrustError::NotCovered {
                plugin: plugin.to_owned(),
                keys: names(signers),
            }),
        }
    }
}

fn names(keys: &[&TrustedKey]) -> Vec<String> {
    keys.iter().map(|key| key.name.clone()).collect()
}

/// Whether a pattern with `*` is a whole name's.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len())
                .filter(|at| name.is_char_boundary(*at))
                .any(|at| matches(rest, &name[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_of_whole_names() {
        for (pattern, name, is) in [
            ("*", "scan", true),
            ("acme-*", "acme-scan", true),
            ("acme-*", "acme", false),
            ("*-scan", "acme-scan", true),
            ("a*e-*n", "acme-scan", true),
            ("scan", "scanner", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}
