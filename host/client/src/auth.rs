//! Who we are to a registry.
//!
//! Read in this order: [`credentials`] (where they come from), [`config`] (docker's and containers' files), [`helper`]
//! (programs that keep them), [`scope`] (what is asked for), [`challenge`] (what the registry wants), [`token`] (one token from
//! its server), [`authorizer`] (tokens kept and renewed for all requests to one host).

pub(crate) mod authorizer;
pub(crate) mod challenge;
pub mod config;
pub mod credentials;
pub mod helper;
pub(crate) mod scope;
pub(crate) mod token;

pub use config::DockerConfig;
pub use credentials::{Asked, CredentialSource, Credentials, Fixed, NoCredentials, Sources};
pub use helper::Helper;
