//! Layers and mounts: a layer applied to mounts, and the changes between two sets of mounts as a layer.
//!
//! Read in this order: [`blobs`] (what a differ needs of a content store), [`differ`] (what a differ does, and several in
//! order), [`walking`] (the one that is built in), `place` (where a layer goes), `apply` (how it gets there), [`ahead`] (how it is there before anybody
//! asks), `authorize` (whether whoever asks
//! could have it applied, where it is there already), `sides` (what is
//! compared), `compare` (how that becomes a blob); [`error`].

pub mod ahead;
mod apply;
mod authorize;
pub mod blobs;
mod compare;
pub mod differ;
pub mod error;
pub mod limits;
mod place;
mod sides;
pub mod walking;

pub use ahead::Ahead;
pub use authorize::NoTar;
pub use blobs::Blobs;
pub use differ::{Applied, ApplyRequest, AuthorizeRequest, CompareRequest, Differ, Differs};
pub use error::DiffError;
pub use walking::{LiveSettings, NAME as WALKING, Settings, Walking};

/// A name that nobody else in this process or on this machine has had: the time in nanoseconds and a number.
#[must_use]
pub fn fresh() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{SystemTime, UNIX_EPOCH};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!(
        "{}-{}-{}",
        now.as_nanos(),
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
