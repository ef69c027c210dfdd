//! Why a layer was not applied or mounts were not compared.

use std::path::PathBuf;

use transom_layer::apply::ApplyError;
use transom_layer::chain::PlanError;
use transom_layer::compare::CompareError;
use transom_layer::pump::PumpError;
use transom_oci::Digest;
use transom_sys::Errno;
use transom_sys::mount::MountError;

use crate::authorize::NoTar;
use crate::blobs::Fault;

/// Why a differ failed.
///
/// The texts are containerd's where its clients know them, without the suffix for the class.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// This differ does not do that; the next one may.
    #[error("{what}")]
    NotImplemented {
        /// What it does not do.
        what: String,
    },
    /// The content store said no; the source says why.
    #[error("{doing}: {source}")]
    Content {
        /// What was asked of it.
        doing: &'static str,
        /// Its own words.
        source: Fault,
    },
    /// The layer's media type has no way to the plain tar.
    #[error("failed to get stream processor for {media_type}: {}", dead_end(.source))]
    NoProcessor {
        /// The layer's media type.
        media_type: String,
        /// What is missing.
        source: PlanError,
    },
    /// Nothing that reads the layer is configured.
    #[error("no processor is configured for {media_type}, and nothing built in reads it")]
    Unread {
        /// What nobody reads.
        media_type: String,
    },
    /// What reads the layer did not do so.
    #[error("{source}")]
    Denied {
        /// Which processor, and why.
        source: Box<PumpError<NoTar>>,
    },
    /// What reads the layer made something else of it than was said.
    #[error("its processors make {actual} of it, and not {expected}")]
    OtherTar {
        /// What it was said to become.
        expected: Digest,
        /// What it became.
        actual: Digest,
    },
    /// The mounts are none that a layer can be applied to.
    #[error("{problem}")]
    Mounts {
        /// What is wrong with them.
        problem: String,
    },
    /// The mounts cannot be written to.
    #[error("{mount}, so that a layer cannot be applied to it; use the mounts of an active snapshot")]
    ReadOnly {
        /// Which mount, and why.
        mount: String,
    },
    /// The mounts cannot be mounted, or not be taken down.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A folder that stands for a mount cannot be opened.
    #[error("cannot open {}: {errno}", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The layer failed on its way.
    #[error("mount callback failed on {}: {}{hint}", place.display(), layer_text(.source))]
    Layer {
        /// Where it was being applied.
        place: PathBuf,
        /// Which stage failed, and why.
        source: Box<PumpError<ApplyError>>,
        /// What may help; empty, or beginning with a separator.
        hint: String,
    },
    /// The layer is applied, but could not be brought to the disk.
    #[error("failed to sync the file system of {}: {errno}", place.display())]
    Sync {
        /// Where it was applied.
        place: PathBuf,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The mounts could not be compared.
    #[error("failed to write diff: {source}")]
    Compare {
        /// Where and why.
        source: CompareError,
    },
    /// The work was cancelled.
    #[error("context canceled")]
    Cancelled,
}

fn dead_end(error: &PlanError) -> String {
    match error {
        PlanError::NoProcessor { media_type, original } if media_type == original => {
            "no processor for media-type".to_owned()
        }
        PlanError::NoProcessor { media_type, .. } => format!("no processor for media-type {media_type}"),
        PlanError::NoEnd { path, .. } => {
            format!("its processors do not lead to a plain tar: {}", path.join(" > "))
        }
    }
}

/// Go's words where its clients' users look for them: for a stream that ends too early, and a program that is not there.
fn layer_text(error: &PumpError<ApplyError>) -> String {
    use transom_layer::stage::StageError;
    use transom_layer::tar::TarError;
    match error {
        PumpError::Sink(ApplyError::Tar(TarError::Truncated { .. })) => format!("unexpected EOF: {error}"),
        PumpError::Stage {
            source: StageError::Spawn { program, source },
            ..
        } if source.kind() == std::io::ErrorKind::NotFound => {
            format!("exec: {program:?}: executable file not found in $PATH")
        }
        _ => error.to_string(),
    }
}
