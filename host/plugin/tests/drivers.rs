//! Storage drivers that are plugins: each against the conformance suite, by configuration, as a user has them; and what the host does
//! when a store, a configuration or a plugin is not as it should be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "drivers/conformance.rs"]
mod conformance;
#[path = "drivers/damage.rs"]
mod damage;
#[path = "support/driver_guest.rs"]
mod driver_guest;
#[path = "drivers/grants.rs"]
mod grants;
#[path = "drivers/misbehaviour.rs"]
mod misbehaviour;
#[path = "drivers/support.rs"]
mod support;
#[path = "drivers/webdav.rs"]
mod webdav;
