//! An OCI registry on a storage driver, over HTTP.
//!
//! Read in the order in which a request flows:
//! 1. [`names`] (repositories, tags, what a reference is), [`error`](mod@error), [`limits`];
//! 2. [`server`] accepts connections, [`http`] understands requests and writes answers;
//! 3. [`access`] (who may do what), [`admission`] (what may be pushed), [`event`] (what is told afterwards);
//! 4. [`store`] does it, with [`index`] (lists that need not walk), [`manifest`] (what a manifest says) and `layout` (where
//!    everything is on the driver);
//! 5. or, for repositories that are not there, a [`source`] does: [`proxy`] has those of other registries.
//!
//! Beside that stand [`auth`] (who a client is), [`policy`] (what a file lets it do), [`notify`] (events on their way to
//! others) and [`import`] (docker-registry's configuration); [`settings`] says how settings are read, [`config`] is the whole
//! file, [`run`] makes a registry of it, [`instance`] says which process that is.
//!
//! `docs/formats/registry.md` describes the files, `docs/guides/registry.md` how it is run.

pub mod access;
pub mod admission;
pub mod auth;
pub mod config;
pub mod error;
pub mod event;
pub mod http;
pub mod import;
pub mod index;
pub mod instance;
mod layout;
pub mod limits;
pub mod manifest;
pub mod metrics;
pub mod names;
pub mod notify;
pub mod policy;
pub mod proxy;
pub mod run;
pub mod server;
pub mod settings;
pub mod source;
pub mod store;
mod watched;

pub use error::Error;
pub use http::{Peer, Registry, Settings};
pub use index::Index;
pub use store::{Options, Store};
