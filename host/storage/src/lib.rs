//! Storage drivers: where a registry keeps its bytes.
//!
//! Read the files in this order:
//! 1. [`path`](mod@path), [`entry`], [`error`]: the words;
//! 2. [`driver`]: [`StorageDriver`], the trait, and [`Writer`]; with [`reader`] and [`walk`], what its calls give;
//! 3. the drivers: [`filesystem`], [`memory`], and [`object`] for S3, Google and Azure;
//! 4. [`decorators`]: drivers that stand on another;
//! 5. [`factory`]: drivers by name, with the parameters of a configuration;
//! 6. [`conformance`]: the suite that every driver passes; [`limits`].
//!
//! `docs/guides/storage-drivers.md` says how each driver is configured, and how to write one.
//!
//! ```
//! use transom_storage::{Condition, StoragePath, factory::Factory};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let table = serde_json::json!({ "driver": "limit", "maxconcurrency": 8, "inner": { "driver": "memory" } });
//! let driver = Factory::builtin().open(table.as_object().unwrap())?;
//! let path = StoragePath::new("/a/b")?;
//! driver.put(&path, "hello".into(), Condition::Always).await?;
//! assert_eq!(driver.get(&path, 100).await?, "hello");
//! # Ok(())
//! # }
//! ```

pub mod conformance;
pub mod decorators;
pub mod driver;
pub mod entry;
pub mod error;
pub mod factory;
pub mod filesystem;
pub mod limits;
pub mod memory;
pub mod object;
pub mod path;
pub mod reader;
pub mod walk;

pub use driver::{
    Capabilities, Condition, Pending, Put, Redirect, RedirectMethod, Stamp, StorageDriver, WriteMode, Writer,
};
pub use entry::{Entry, Kind};
pub use error::Error;
pub use factory::{ConfigError, Factory};
pub use filesystem::Filesystem;
pub use memory::Memory;
pub use path::StoragePath;
pub use reader::{Chunks, LocalFile, Reader};
pub use walk::Walk;
