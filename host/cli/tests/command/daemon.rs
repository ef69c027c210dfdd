//! The same commands against Transom's daemon and against containerd.
//!
//! Read in this order: `rig` (a daemon of either kind), then one file for each noun.

#[path = "daemon/rig.rs"]
pub(crate) mod rig;

#[path = "daemon/content.rs"]
mod content;
#[path = "daemon/events.rs"]
mod events;
#[path = "daemon/failures.rs"]
mod failures;
#[path = "daemon/fsck.rs"]
mod fsck;
#[path = "daemon/gc.rs"]
mod gc;
#[path = "daemon/images.rs"]
mod images;
#[path = "daemon/leases.rs"]
mod leases;
#[path = "daemon/namespaces.rs"]
mod namespaces;
#[path = "daemon/plugin_state.rs"]
mod plugin_state;
#[path = "daemon/plugins.rs"]
mod plugins;
#[path = "daemon/registries.rs"]
mod registries;
#[path = "daemon/snapshots.rs"]
mod snapshots;
#[path = "daemon/transfers.rs"]
mod transfers;
