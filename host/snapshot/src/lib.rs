//! Snapshotters: overlayfs and native.
//!
//! Read the files in the order a call flows through them: [`local`] (the front door), `prepare`, `commit` and `removal` (what
//! changes), `records` (what is written down), `driver` (what the snapshotters differ in), [`overlayfs`] and [`native`],
//! `folders` (what is on the disk), `tree` (walking, measuring, copying and removing it). Beside them: [`steps`] (the named
//! points of each call), [`start`] (what a crash left), [`probe`] (whether overlayfs works here), `idmap`, `sync` (one sync
//! for many), `task`, [`limits`], `error`.
//!
//! `docs/formats/snapshots.md` describes every folder and every record.

mod commit;
mod driver;
mod error;
mod folders;
mod idmap;
pub mod limits;
pub mod local;
pub mod native;
pub mod overlayfs;
mod prepare;
pub mod probe;
mod records;
mod removal;
pub mod start;
pub mod steps;
mod sync;
mod task;
mod tree;

pub use local::{Local, Place, snapshotter_root};
pub use native::NativeOptions;
pub use overlayfs::{Features, OverlayOptions};
pub use start::Found;
pub use steps::{Observer, Step};
