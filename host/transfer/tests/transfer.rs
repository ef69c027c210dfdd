//! Tests of transfers; one file of `transfer/` for each part.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "transfer/damage.rs"]
mod damage;
#[path = "transfer/docker.rs"]
mod docker;
#[path = "transfer/exports.rs"]
mod exports;
#[path = "transfer/fakes.rs"]
mod fakes;
#[path = "transfer/imports.rs"]
mod imports;
#[path = "transfer/names.rs"]
mod names;
#[path = "transfer/real.rs"]
mod real;
#[path = "transfer/stage.rs"]
mod stage;
#[path = "transfer/unpacking.rs"]
mod unpacking;
