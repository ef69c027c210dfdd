//! The tests of the content store: one program, one file per subject.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod crash;
mod helpers;
mod ingest;
mod interop;
mod memory;
mod model;
mod races;
mod reading;
mod remote;
mod suite;
mod sweeping;
mod times;
