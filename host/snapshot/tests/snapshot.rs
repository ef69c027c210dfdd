//! The tests of the snapshotters: one program, one file per subject.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod calls;
mod copying;
mod crash;
mod full;
mod helpers;
mod many;
mod model;
mod mounts;
mod power;
mod races;
mod removing;
mod starting;
mod suite;
