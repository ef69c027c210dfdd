//! WASM components as stages: load, check, limit, run.
//!
//! ```text
//! file → limits → digest → validate → world check → compile cache → pre-linked → describe() → Plugin → handler → stage
//! ```
//!
//! Read in that order: [`host`] (the pipeline and the engine's owner), [`manifest`] (what `plugin.toml` says),
//! [`mod@inspect`] (what a component is made of, without running it) over `component/` (its binary) and `world` (what it may
//! import and must export), `cache` (compiled code on disk), `engine` (how code is compiled and interrupted), [`plugin`]
//! (one that is ready), [`stage`] (one layer through it) over `state` (what a job may use), `echo` (what passes unchanged), [`decrypt`] (keys), `documents` (what is made beside the layer) and `wit/` (one adapter for each
//! version of the interface), [`filter`] (label filters, by the same pipeline), [`storage`] (storage drivers, by
//! the same pipeline), [`loaded`] (any of the three), [`artifact`] (plugins as artifacts of registries: read, made, signed,
//! trusted), [`installed`] (a folder of them, with its lock file). [`limits`] says what a plugin may cost, [`error`] what can go
//! wrong, `log` what guests may say, [`breaker`] when one is suspended, [`mod@watch`] who counts its jobs and remembers its failures, [`grants`] what the operator has given to one.

pub mod artifact;
pub mod breaker;
pub mod config;
pub mod decrypt;
pub mod error;
pub mod filter;
pub mod grants;
pub mod host;
pub mod inspect;
pub mod installed;
pub mod limits;
pub mod loaded;
pub mod manifest;
pub mod plugin;
pub mod stage;
pub mod storage;
pub mod watch;

mod cache;
mod component;
mod documents;
mod echo;
mod engine;
mod log;
mod state;
mod wit;
mod world;

pub use decrypt::Grants as ProcessorGrants;
pub use error::{Fault, GuestError, LoadError, PluginError};
pub use filter::{Filter, FilterInfo, FilterSet};
pub use host::{Host, HostConfig};
pub use inspect::{Report, inspect};
pub use limits::{Limits, LimitsGiven};
pub use loaded::Loaded;
pub use manifest::Manifest;
pub use plugin::{Conversion, Info, Plugin};
pub use storage::{DriverError, DriverPlugin};
