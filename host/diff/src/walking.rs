//! The differ that is built in. Its name is containerd's for its own, which walks two trees side by side.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use transom_layer::apply::ApplyLimits;
use transom_layer::buffer::Pool;
use transom_layer::chain::Chain;
use transom_layer::limits::OutputLimits;
use transom_layer::workers::Workers;
use transom_oci::Descriptor;
use transom_sys::mount::TempMounts;
use transom_sys::{Linux, Sys as _};

use crate::ahead::Ahead;
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

/// Settings that can be replaced at any time. Clones are the same ones. A layer goes on with those that it began with.
#[derive(Clone, Debug, Default)]
pub struct LiveSettings {
    current: Arc<RwLock<Arc<Settings>>>,
}

impl LiveSettings {
    /// Settings to begin with.
    #[must_use]
    pub fn new(settings: Settings) -> LiveSettings {
        let live = LiveSettings::default();
        live.replace(settings);
        live
    }

    /// Those of now.
    #[must_use]
    pub fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these.
    pub fn replace(&self, settings: Settings) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}

impl From<Settings> for LiveSettings {
    fn from(settings: Settings) -> LiveSettings {
        LiveSettings::new(settings)
    }
}

/// The differ that is built in. It keeps threads and buffers for the next layer.
pub struct Walking {
    settings: LiveSettings,
    temp: TempMounts,
    workers: Workers,
    pool: Pool,
    in_user_namespace: bool,
    ahead: Option<Ahead>,
}

/// The differ at work on one request, with the settings that it began with.
pub(crate) struct Working<'a> {
    pub(crate) settings: Arc<Settings>,
    pub(crate) temp: &'a TempMounts,
    pub(crate) workers: &'a Workers,
    pub(crate) pool: &'a Pool,
    pub(crate) in_user_namespace: bool,
    pub(crate) ahead: Option<&'a Ahead>,
}

impl Walking {
    /// A differ that mounts what it must below `temp`.
    #[must_use]
    pub fn new(settings: impl Into<LiveSettings>, temp: TempMounts) -> Walking {
        Walking {
            settings: settings.into(),
            temp,
            workers: Workers::new(),
            pool: Pool::new(),
            in_user_namespace: Linux.in_user_namespace(),
            ahead: None,
        }
    }

    /// The same, which takes layers that were unpacked ahead, and shares threads and buffers with who does that.
    #[must_use]
    pub fn with_ahead(mut self, ahead: Option<Ahead>) -> Walking {
        if let Some(ahead) = &ahead {
            (self.workers, self.pool) = ahead.machinery();
        }
        self.ahead = ahead;
        self
    }

    fn work(&self) -> Working<'_> {
        Working {
            settings: self.settings.now(),
            temp: &self.temp,
            workers: &self.workers,
            pool: &self.pool,
            in_user_namespace: self.in_user_namespace,
            ahead: self.ahead.as_ref(),
        }
    }
}

impl Differ for Walking {
    fn name(&self) -> &str {
        NAME
    }

    fn apply(&self, blobs: &dyn Blobs, request: &ApplyRequest<'_>) -> Result<Applied, DiffError> {
        apply::apply(&self.work(), blobs, request)
    }

    fn authorize(&self, blobs: &dyn Blobs, request: &AuthorizeRequest<'_>) -> Result<(), DiffError> {
        authorize::authorize(&self.work(), blobs, request)
    }

    fn compare(&self, blobs: &dyn Blobs, request: &CompareRequest<'_>) -> Result<Descriptor, DiffError> {
        compare::compare(&self.work(), blobs, request)
    }
}

impl fmt::Debug for Walking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walking")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
