//! Namespaces, images, content records, snapshots, leases, filters, events and garbage collection, over a small key-value trait.
//!
//! Read the files in the order a request flows through them: [`metadata`] (the front door), [`names`] (what may be
//! called what), [`namespaces`], [`images`], [`content`], [`snapshots`] and [`leases`] (one folder or file for each kind of object),
//! `transaction` (read, check, write, all or nothing), `key` and `record` (what is written), [`kv`] (where it is
//! written). Beside them: [`seen`] (lists without copies), [`filter`] (the language of lists), [`policy`] (what must hold of what is let in), [`events`], [`gc`], [`fsck`], [`migration`], [`limits`], [`error`].
//!
//! `docs/formats/metadata.md` describes every key and record.

pub mod content;
pub mod error;
pub mod events;
pub mod filter;
pub mod fsck;
pub mod gc;
pub mod images;
mod key;
pub mod kv;
pub mod leases;
pub mod limits;
pub mod metadata;
pub mod migration;
pub mod names;
pub mod namespaces;
pub mod node;
pub mod policy;
pub mod record;
pub mod seen;
pub mod snapshots;
mod transaction;

pub use error::{Class, Error};
pub use metadata::{Metadata, Options};
pub use names::{Caller, Labels, Namespace};
pub use node::Node;
