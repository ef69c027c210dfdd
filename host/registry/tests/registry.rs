//! Tests of the registry through its public interface and through real connections, as one program that links once.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

#[path = "registry/admission.rs"]
mod admission;
#[path = "registry/blobs.rs"]
mod blobs;
#[path = "registry/chance.rs"]
mod chance;
#[path = "registry/client.rs"]
mod client;
#[path = "registry/clients.rs"]
mod clients;
#[path = "registry/crash.rs"]
mod crash;
#[path = "registry/errors.rs"]
mod errors;
#[expect(dead_code, reason = "the client's tests need all of it")]
#[path = "../../client/tests/client/fake.rs"]
mod fake;
#[path = "registry/files.rs"]
mod files;
#[path = "registry/garbage.rs"]
mod garbage;
#[path = "registry/gates.rs"]
mod gates;
#[path = "registry/hostile.rs"]
mod hostile;
#[path = "registry/index.rs"]
mod index;
#[path = "registry/lists.rs"]
mod lists;
#[path = "registry/manifests.rs"]
mod manifests;
#[path = "registry/notifications.rs"]
mod notifications;
#[path = "registry/power.rs"]
mod power;
#[path = "registry/proxy.rs"]
mod proxy;
#[path = "registry/running.rs"]
mod running;
#[path = "registry/secure.rs"]
mod secure;
#[path = "registry/serving.rs"]
mod serving;
#[path = "registry/signer.rs"]
mod signer;
#[path = "registry/together.rs"]
mod together;
#[path = "registry/tokens.rs"]
mod tokens;
#[path = "registry/uploads.rs"]
mod uploads;
