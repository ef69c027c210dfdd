//! Tests of the storage drivers, as one program that links once.

#[path = "storage/drivers.rs"]
mod drivers;
