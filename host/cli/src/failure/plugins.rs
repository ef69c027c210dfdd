//! What is said of plugins: when they are loaded, work, come from elsewhere and are installed; and of keys.

use std::error::Error;

use transom_keys::KeyError;
use transom_plugin::artifact::{ArtifactError, TrustError};
use transom_plugin::installed::InstalledError;
use transom_plugin::{Fault, GuestError, LoadError, PluginError};

use super::{Failure, Kind, kind_of_io};

/// Of what happened inside a plugin.
pub(super) fn kind_of_fault(error: &(dyn Error + Send + Sync + 'static)) -> Kind {
    match error.downcast_ref::<PluginError>().map(|error| &error.fault) {
        Some(Fault::Guest(GuestError::Corrupt { .. })) => Kind::Damaged,
        Some(Fault::Guest(GuestError::Denied(_))) => Kind::Refused,
        Some(Fault::Guest(GuestError::Limit(_))) => Kind::Limit,
        Some(Fault::Memory { .. } | Fault::Cpu { .. } | Fault::Stall { .. } | Fault::Wall { .. }) => {
            Kind::Limit
        }
        Some(Fault::Output { .. } | Fault::Ratio { .. } | Fault::Stack { .. }) => Kind::Limit,
        _ => Kind::Other,
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        Failure::of(Kind::from(&error), &error)
    }
}

impl From<&LoadError> for Kind {
    fn from(error: &LoadError) -> Kind {
        match error {
            LoadError::Read { source, .. } => kind_of_io(source),
            LoadError::Config { .. } | LoadError::Manifest { .. } => Kind::Usage,
            LoadError::Forbidden(_) | LoadError::NotGranted { .. } => Kind::Refused,
            LoadError::NotWasm | LoadError::CoreModule | LoadError::Invalid { .. } => Kind::Damaged,
            LoadError::TooLarge { .. } => Kind::Limit,
            _ => Kind::Other,
        }
    }
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Failure {
        Failure::of(Kind::from(&error), &error)
    }
}

impl From<&ArtifactError> for Kind {
    fn from(error: &ArtifactError) -> Kind {
        match error {
            ArtifactError::NotAPlugin(_) => Kind::Refused,
            ArtifactError::Read { source, .. } => kind_of_io(source),
            ArtifactError::Damaged { .. } => Kind::Damaged,
            ArtifactError::TooLarge { .. } => Kind::Limit,
            ArtifactError::Component(error) => error.into(),
        }
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Failure {
        let kind = match &error {
            TrustError::Read { source, .. } => kind_of_io(source),
            TrustError::Policy { .. } => Kind::Usage,
            TrustError::Key(error) => error.into(),
            TrustError::Unsigned { .. } | TrustError::Stranger { .. } | TrustError::NotCovered { .. } => {
                Kind::Refused
            }
            TrustError::Load(error) => error.into(),
        };
        Failure::of(kind, &error)
    }
}

impl From<InstalledError> for Failure {
    fn from(error: InstalledError) -> Failure {
        let kind = match &error {
            InstalledError::Io { source, .. } => kind_of_io(source),
            InstalledError::Store(error) => error.into(),
            InstalledError::Wrong { .. } => Kind::Damaged,
            InstalledError::Busy(_) => Kind::Unavailable,
            InstalledError::NotInstalled { .. } | InstalledError::NoPrevious(_) => Kind::NotFound,
            InstalledError::Changed(_) => Kind::Refused,
            InstalledError::TooMany => Kind::Limit,
            InstalledError::Artifact(error) => error.into(),
        };
        Failure::of(kind, &error)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Failure {
        Failure::of(Kind::from(&error), &error)
    }
}

impl From<&KeyError> for Kind {
    fn from(error: &KeyError) -> Kind {
        match error {
            KeyError::Read { source, .. } => kind_of_io(source),
            KeyError::NoKey { .. } | KeyError::NoPublicKey { .. } => Kind::Damaged,
            KeyError::Random => Kind::Other,
            KeyError::TooLarge(_) | KeyError::TooMany => Kind::Limit,
        }
    }
}
