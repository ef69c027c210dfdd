//! Tests of the registry client, as one program that links once.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

#[path = "client/blobs.rs"]
mod blobs;
#[path = "client/credentials.rs"]
mod credentials;
#[path = "client/debian.rs"]
mod debian;
#[path = "client/fake.rs"]
mod fake;
#[path = "client/hosts.rs"]
mod hosts;
#[path = "client/images.rs"]
mod images;
#[path = "client/lists.rs"]
mod lists;
#[path = "client/logins.rs"]
mod logins;
#[path = "client/manifests.rs"]
mod manifests;
#[path = "client/mirrors.rs"]
mod mirrors;
#[path = "client/pushes.rs"]
mod pushes;
#[path = "client/references.rs"]
mod references;
#[path = "client/stores.rs"]
mod stores;
#[path = "client/support.rs"]
mod support;
#[path = "client/transport.rs"]
mod transport;
