//! Registries, and what can be asked of them.
//!
//! Read in this order: [`client`] (settings and connections), [`remote`] (one repository and the hosts that serve it), [`manifest`]
//! (resolve, fetch, put), [`document`] (what a manifest says it is), `urls` (where else a blob is), [`blob`] (one stream that goes on after a cut), [`pieces`]
//! (several ranges at once), [`push`] (uploads), [`referrers`], [`lists`] (tags and repositories), [`delete`].

pub mod blob;
pub mod client;
pub mod delete;
pub(crate) mod document;
pub mod lists;
pub mod manifest;
pub(crate) mod pieces;
pub mod push;
pub mod referrers;
pub mod remote;
pub(crate) mod urls;

pub use blob::BlobReader;
pub use client::{Client, Options};
pub use lists::List;
pub use manifest::Fetched;
pub use push::{Pushed, Upwards};
pub use remote::Remote;
