//! Reading and writing a tar stream: our own reader, because applying a layer needs what a general unpacker hides, and our
//! own writer, because a layer of the same changes must have the same digest as containerd's.
//!
//! Read in this order: [`source`] (where chunks come from), [`entry`] (what is found), `block` (one header block),
//! `pax` (extended headers), `sparse` (maps of sparse files), [`reader`] (the loop over it all), [`limits`] and
//! [`error`]; then [`encode`] (a header as bytes)
//! and [`writer`].
//!
//! The reference for what is accepted is Go's `archive/tar`, since that decides what containerd unpacks. Where this
//! reader differs on purpose, `tests/tar_differential.rs` lists it.

mod block;
pub mod encode;
pub mod entry;
pub mod error;
pub mod limits;
mod pax;
pub mod reader;
pub mod source;
mod sparse;
pub mod writer;

pub use encode::{Header, WriteError};
pub use entry::{Entry, EntryKind, Time};
pub use error::TarError;
pub use limits::TarLimits;
pub use reader::{Data, Reader};
pub use source::{ChunkSource, SourceError};
pub use writer::{TarSink, Writer};
