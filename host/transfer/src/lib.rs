//! Images in and out of a daemon's stores, and into snapshots.
//!
//! Read in the order in which an image travels: [`bytes`] (streams of bytes from and to a client), [`import`] (an archive
//! becomes content and images, in one pass; [`along`] is a layer of it that is unpacked while it comes), [`image_store`] (which platforms of it, under which names), [`children`] and
//! [`document`] (what a manifest or index lists, and how its parent keeps it), [`mod@unpack`] (its layers become snapshots; [`artifacts`] is what plugins write about them),
//! [`registry`], [`verify`] and `pull` (from a registry; [`arriving`] is a blob that is read while it comes), [`export`]
//! (images become an archive), `push` (to a registry), [`mod@tag`], [`mod@echo`]. Beside them: [`transfers`] (the front door), [`lease`] (what
//! keeps a transfer's content meanwhile), [`reference`] (names of images), [`progress`], [`limits`], [`error`].

pub mod along;
pub mod arriving;
pub mod artifacts;
pub mod bytes;
pub mod children;
pub mod document;
pub mod echo;
pub mod error;
pub mod export;
pub mod image_store;
pub mod import;
pub mod lease;
pub mod limits;
pub mod progress;
mod pull;
mod push;
pub mod reference;
pub mod registry;
pub mod tag;
pub mod transfers;
pub mod unpack;
pub mod verify;

pub use bytes::{ByteSink, ByteSource, StreamError};
pub use error::TransferError;
pub use export::ExportOptions;
pub use image_store::{ImageStore, Platforms, Reference, UnpackTo};
pub use import::ImportOptions;
pub use progress::{Progress, ProgressSink};
pub use registry::Registry;
pub use transfers::Transfers;
pub use verify::Verifiers;
