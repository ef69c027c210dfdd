//! Why the plugins of a running daemon were not changed. Whatever it is, those that worked go on.

use std::io;
use std::path::PathBuf;

use transom_meta::Class;
use transom_meta::filter::FilterError;
use transom_oci::Digest;
use transom_plugin::LoadError;
use transom_plugin::artifact::{ArtifactError, TrustError};
use transom_plugin::limits::INSTALLED_MAX;
use transom_plugin::storage::NotReplaced;

use crate::limits::{SIGNATURES, SOURCE_BYTES};

/// Why the plugins of a running daemon were not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// A digest that is none.
    #[error("{field}: {text:?} is no digest, such as sha256:…")]
    Digest {
        /// Of which field.
        field: &'static str,
        /// What is there.
        text: String,
    },
    /// There is too much of something in a request.
    #[error("{what}: {count}, the limit is {limit}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The content store lacks a blob of an artifact.
    #[error(
        "{what} {digest} is not in the content store, in the namespace {}",
        super::installed::NAMESPACE
    )]
    NoBlob {
        /// Which part.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// What is there is no artifact of a plugin, or is damaged.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The plugin was not let in.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The engine cannot be started.
    #[error("{0}")]
    Engine(String),
    /// The configuration is not fit for the plugin.
    #[error("{name}: {reason}")]
    Unfit {
        /// Its name.
        name: String,
        /// What is missing.
        reason: String,
    },
    /// A policy for images cannot be asked any more.
    #[error(
        "the policy {name:?} in [verifiers.policies], [admission.policies] or [registry.admission.policies] could not be asked any more: {source}"
    )]
    Policy {
        /// Its name.
        name: String,
        /// Why.
        source: FilterError,
    },
    /// A version of a storage driver cannot take the place of the one that is open.
    #[error("{0}; nothing was changed")]
    Driver(#[from] NotReplaced),
    /// A storage driver cannot be taken away.
    #[error(
        "{by} stands on the storage driver {name}: name another driver there and start the daemon again first"
    )]
    Needed {
        /// The driver.
        name: String,
        /// The settings that name it.
        by: String,
    },
    /// There is no plugin of this name.
    #[error("plugin {name:?}{}", if *.folder { " comes from a folder of the configuration: remove it there, and reload" } else { "" })]
    NotInstalled {
        /// The name.
        name: String,
        /// Whether it comes from a folder.
        folder: bool,
    },
    /// There is no version to go back to.
    #[error("{0} was not installed in another version before: there is nothing to go back to")]
    NoPrevious(String),
    /// The name is taken.
    #[error("the name {name} is taken by the {kind} {}", of.display())]
    Taken {
        /// The name.
        name: String,
        /// What has it.
        kind: &'static str,
        /// Where that is.
        of: PathBuf,
    },
    /// Behind a containerd there is no place for them.
    #[error(
        "a daemon behind a containerd (--proxy-backend) keeps no images and so no plugins; name a folder in its configuration"
    )]
    NoStore,
    /// More are installed than anybody needs.
    #[error("{INSTALLED_MAX} plugins are installed, which is the limit; remove some")]
    Full,
    /// The configuration has mistakes.
    #[error("{0}; nothing was changed")]
    Configuration(String),
    /// The list of installed plugins cannot be read or written.
    #[error("{}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Metadata.
    #[error(transparent)]
    Meta(#[from] transom_meta::Error),
}

impl Trouble {
    /// A request with more than it may have.
    ///
    /// # Errors
    /// [`Trouble::TooMuch`].
    pub fn check(source: &str, signatures: usize) -> Result<(), Trouble> {
        let check = |what, count: usize, limit: usize| {
            (count <= limit)
                .then_some(())
                .ok_or(Trouble::TooMuch { what, count, limit })
        };
        check("bytes of `source`", source.len(), SOURCE_BYTES)?;
        check("manifests of signatures", signatures, SIGNATURES)
    }

    /// The class of this error.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Trouble::Digest { .. } | Trouble::Configuration(_) => Class::InvalidArgument,
            Trouble::Artifact(ArtifactError::TooLarge { .. }) => Class::ResourceExhausted,
            Trouble::Artifact(ArtifactError::Damaged { .. }) => Class::DataLoss,
            Trouble::Artifact(_) | Trouble::Trust(TrustError::Load(_)) => Class::InvalidArgument,
            Trouble::Trust(
                TrustError::Unsigned { .. } | TrustError::Stranger { .. } | TrustError::NotCovered { .. },
            ) => Class::PermissionDenied,
            Trouble::TooMuch { .. } | Trouble::Full => Class::ResourceExhausted,
            Trouble::NoBlob { .. } => Class::NotFound,
            Trouble::NotInstalled { folder: false, .. } => Class::NotFound,
            Trouble::NotInstalled { folder: true, .. }
            | Trouble::Trust(_)
            | Trouble::Unfit { .. }
            | Trouble::Policy { .. }
            | Trouble::Driver(_)
            | Trouble::Needed { .. }
            | Trouble::NoPrevious(_)
            | Trouble::NoStore => Class::FailedPrecondition,
            Trouble::Taken { .. } => Class::AlreadyExists,
            Trouble::Engine(_) | Trouble::Record { .. } => Class::Unknown,
            Trouble::Meta(error) => error.class(),
        }
    }
}

impl From<&LoadError> for Trouble {
    fn from(error: &LoadError) -> Trouble {
        Trouble::Engine(error.to_string())
    }
}
