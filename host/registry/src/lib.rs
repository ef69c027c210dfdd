//! An OCI registry on a storage driver, over HTTP.
//!
//! Read in the order in which a request flows: [`names`] (repositories, tags, what a reference is), [`access`] (who may do
//! what), [`event`] (what is told afterwards).
//!
//! Beside that stand [`auth`] (who a client is), [`policy`] (what a file lets it do), [`notify`] (events on their way to
//! others) and [`import`] (docker-registry's configuration); [`settings`] says how their settings are read.

pub mod access;
pub mod auth;
pub mod event;
pub mod import;
pub mod names;
pub mod notify;
pub mod policy;
pub mod settings;
mod watched;
