//! The differ that is built in. Its name is containerd's for its own, which walks two trees side by side.

use std::fmt;

use transom_layer::apply::ApplyLimits;
use transom_layer::buffer::Pool;
use transom_layer::chain::Chain;
use transom_layer::limits::OutputLimits;
use transom_layer::workers::Workers;
use transom_oci::Descriptor;
use transom_sys::mount::TempMounts;
use transom_sys::{Linux, Sys as _};

use crate::blobs::Blobs;
use crate::differ::{Applied, ApplyRequest, AuthorizeRequest, CompareRequest, Differ};
use crate::{DiffError, apply, authorize, compare};

/// Its name.
pub const NAME: &str = "walking";

/// How it works.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What layers may pass through.
    pub chain: Chain,
    /// What the stages may put out for one layer.
    pub output: OutputLimits,
    /// What a layer's tar may cost.
    pub apply: ApplyLimits,
    /// Whether every layer must outlast a power cut, whatever its request says.
    pub sync_fs: bool,
}

/// The differ that is built in. It keeps threads and buffers for the next layer.
pub struct Walking {
    pub(crate) settings: Settings,
    pub(crate) temp: TempMounts,
    pub(crate) workers: Workers,
    pub(crate) pool: Pool,
    pub(crate) in_user_namespace: bool,
}

impl Walking {
    /// A differ that mounts what it must below `temp`.
    #[must_use]
    pub fn new(settings: Settings, temp: TempMounts) -> Walking {
        Walking {
            settings,
            temp,
            workers: Workers::new(),
            pool: Pool::new(),
            in_user_namespace: Linux.in_user_namespace(),
        }
    }
}

impl Differ for Walking {
    fn name(&self) -> &str {
        NAME
    }

    fn apply(&self, blobs: &dyn Blobs, request: &ApplyRequest<'_>) -> Result<Applied, DiffError> {
        apply::apply(self, blobs, request)
    }

    fn authorize(&self, blobs: &dyn Blobs, request: &AuthorizeRequest<'_>) -> Result<(), DiffError> {
        authorize::authorize(self, blobs, request)
    }

    fn compare(&self, blobs: &dyn Blobs, request: &CompareRequest<'_>) -> Result<Descriptor, DiffError> {
        compare::compare(self, blobs, request)
    }
}

impl fmt::Debug for Walking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walking")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
