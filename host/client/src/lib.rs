//! A client of OCI registries: resolve, fetch, push, authenticate, hosts.
//!
//! Read the files in the order in which a pull goes: [`reference`] (names of images), [`hosts`] (who serves a registry),
//! [`auth`] (who we are to them), [`transport`] (one host over HTTP), [`registry`] (what can be asked of one), [`fetch`] (blobs
//! into a content store), [`images`] (whole ones, in and out). Beside them: [`secret`], `files`, [`limits`], [`error`].
//!
//! Nothing here reads the environment or the home directory: folders of settings, files of credentials, proxies and the path
//! of credential helpers are given in [`Options`].
//!
//! ```no_run
//! use transom_client::{Client, Options, Reference};
//! # async fn pull() -> Result<(), transom_client::Error> {
//! let client = Client::new(Options::default());
//! let image: Reference = "docker.io/library/debian:12".parse()?;
//! let remote = client.remote(&image.repository)?;
//! let manifest = remote.manifest(&image.target()).await?;
//! println!("{}", manifest.descriptor.digest);
//! # Ok(())
//! # }
//! ```

pub mod auth;
pub mod error;
pub mod fetch;
mod files;
pub mod hosts;
pub mod images;
pub mod limits;
pub mod reference;
pub mod registry;
pub mod secret;
pub mod transport;

pub use error::Error;
pub use fetch::{Got, ingest_ref};
pub use hosts::Hosts;
pub use reference::{Reference, Repository};
pub use registry::{Client, Options, Pushed, Remote, Upwards};
pub use secret::Secret;
pub use transport::{Proxies, Retry, Timeouts, Upload};
