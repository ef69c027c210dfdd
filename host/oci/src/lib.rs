//! The words of the OCI specifications, for every other crate.
//!
//! Read in this order: [`digest`] (what names a blob), [`engine`] (how it is computed, and how the fastest way
//! is chosen), [`descriptor`] (what points at a blob), [`platform`], [`manifest`] (what descriptors are
//! arranged in), [`media_type`] (what blobs say they are), [`limits`].

pub mod descriptor;
pub mod digest;
pub mod engine;
pub mod limits;
pub mod manifest;
pub mod media_type;
pub mod platform;

pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError};
pub use engine::Hasher;
pub use manifest::{ImageConfig, Index, Manifest, chain_ids};
pub use platform::{Platform, PlatformError};
