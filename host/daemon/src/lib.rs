//! The daemon: containerd's services over Transom's stores.
//!
//! A request flows through `socket` (who may talk), `connections` (HTTP/2), `rpc` (which service; numbers, counts, nets, and the
//! `deadline`), one file of [`services`] (message to domain and back, with [`convert`], [`headers`] and [`status`]) into `transom_meta` or `transom_content`.
//! [`answers`] are what streams are made of. [`server`] puts everything together: [`config`], [`places`], [`lock`],
//! [`identity`], `blobs` (a folder, or a storage driver by `remote`), [`mod@plugins`] ([`filters`], [`processors`], [`mod@grants`]), [`mod@reload`],
//! [`verifiers`], [`snapshotters`], `unpacked` (layers that are there before anybody asks), [`registry`], [`parts`], [`metrics`], [`traces`], [`log`],
//! [`notify`], [`shutdown`]. `main` only reads arguments and environment.

pub mod answers;
mod blobs;
pub mod config;
pub mod connections;
pub mod convert;
mod deadline;
pub mod error;
pub mod filters;
pub mod grants;
pub mod headers;
pub mod identity;
pub mod limits;
pub mod lock;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod parts;
pub mod places;
pub mod plugins;
pub mod processors;
pub mod registry;
pub mod reload;
mod remote;
pub mod rpc;
pub mod server;
pub mod services;
pub mod shutdown;
pub mod snapshotters;
pub mod socket;
pub mod status;
pub mod traces;
mod unpacked;
pub mod verifiers;

pub use config::Config;
pub use error::Failure;
pub use server::Daemon;
