//! Storage drivers: where a registry keeps its bytes.
//!
//! Read the files in this order:
//! 1. [`path`](mod@path), [`entry`], [`error`]: the words;
//! 2. [`driver`]: [`StorageDriver`], the trait, and [`Writer`]; with [`reader`] and [`walk`], what its calls give;
//! 3. the drivers: [`filesystem`], [`memory`];
//! 4. [`limits`].

pub mod driver;
pub mod entry;
pub mod error;
pub mod filesystem;
pub mod limits;
pub mod memory;
pub mod path;
pub mod reader;
pub mod walk;

pub use driver::{
    Capabilities, Condition, Pending, Redirect, RedirectMethod, StorageDriver, WriteMode, Writer,
};
pub use entry::{Entry, Kind};
pub use error::Error;
pub use filesystem::Filesystem;
pub use memory::Memory;
pub use path::StoragePath;
pub use reader::{Chunks, LocalFile, Reader};
pub use walk::Walk;
