//! Tests of transfers; one file of `transfer/` for each part.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "transfer/damage.rs"]
mod damage;
#[path = "transfer/docker.rs"]
mod docker;
#[path = "transfer/exports.rs"]
mod exports;
#[path = "../../client/tests/client/fake.rs"]
#[allow(dead_code, reason = "the client's tests use all of it")]
mod fake;
#[path = "transfer/fakes.rs"]
mod fakes;
#[path = "transfer/imports.rs"]
mod imports;
#[path = "transfer/names.rs"]
mod names;
#[path = "transfer/pulls.rs"]
mod pulls;
#[path = "transfer/pulls_broken.rs"]
mod pulls_broken;
#[path = "transfer/pushes.rs"]
mod pushes;
#[path = "transfer/real.rs"]
mod real;
#[path = "transfer/stage.rs"]
mod stage;
#[path = "transfer/unpacking.rs"]
mod unpacking;
#[path = "transfer/verifiers.rs"]
mod verifiers;
