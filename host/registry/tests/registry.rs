//! Tests of the registry through real connections, as one program that links once.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

#[path = "registry/blobs.rs"]
mod blobs;
#[path = "registry/client.rs"]
mod client;
#[path = "registry/errors.rs"]
mod errors;
#[path = "registry/hostile.rs"]
mod hostile;
#[path = "registry/lists.rs"]
mod lists;
#[path = "registry/manifests.rs"]
mod manifests;
#[path = "registry/serving.rs"]
mod serving;
#[path = "registry/uploads.rs"]
mod uploads;
