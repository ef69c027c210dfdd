//! Images on disk: OCI layouts and archives, and `docker save` archives.
//!
//! Read in the order in which an image is opened: [`mod@reference`] (what the person typed), [`source`] (the folder
//! or archive that holds blobs: `source/spool` takes streams and compressed files to a seekable one,
//! `source/scan` and `source/archive` index it, `source/folder` is the unpacked kind, `source/blob` reads,
//! `source/document` parses and verifies what is JSON), [`mod@resolve`] (from a name and a platform to one image
//! and its layers), [`mod@inspect`] (everything there is, as a tree). [`error`] and [`limits`] serve them all.

pub mod error;
pub mod inspect;
pub mod limits;
pub mod reference;
pub mod resolve;
pub mod source;
pub mod unpack;

pub use error::{Choice, ImageError};
pub use reference::{Reference, Selector, Transport};
pub use resolve::{Image, Layer, PlatformChoice, resolve};
pub use source::blob::BlobReader;
pub use source::{Format, OpenOptions, Source};
