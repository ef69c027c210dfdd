//! Snapshots: what a namespace calls them, what they are labelled with, and what keeps them.
//!
//! [`snapshotter`] is the trait of those that keep the files; their keys are made of the namespace, a number and the
//! client's key, so that two namespaces may use one key.

pub mod snapshotter;

pub use snapshotter::{Info, Kind, SnapshotError, Snapshotter, Usage};
