//! Tests of the registry through its public interface, as one program that links once.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

#[path = "registry/chance.rs"]
mod chance;
#[path = "registry/gates.rs"]
mod gates;
#[path = "registry/notifications.rs"]
mod notifications;
#[path = "registry/signer.rs"]
mod signer;
#[path = "registry/tokens.rs"]
mod tokens;
