//! Tests of the storage drivers, as one program that links once.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

#[path = "storage/decorators.rs"]
mod decorators;
#[path = "storage/drivers.rs"]
mod drivers;
#[path = "storage/factory.rs"]
mod factory;
#[path = "storage/filesystem.rs"]
mod filesystem;
#[path = "storage/flaws.rs"]
mod flaws;
#[path = "storage/flush.rs"]
mod flush;
#[path = "storage/journal.rs"]
mod journal;
#[path = "storage/memory.rs"]
mod memory;
#[path = "storage/object.rs"]
mod object;
#[path = "storage/stacks.rs"]
mod stacks;
