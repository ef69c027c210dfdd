//! An OCI registry on a storage driver, over HTTP.
//!
//! Read in the order in which a request flows: [`names`] (repositories, tags, what a reference is), [`access`] (who may do
//! what), [`event`] (what is told afterwards).

pub mod access;
pub mod event;
pub mod names;
