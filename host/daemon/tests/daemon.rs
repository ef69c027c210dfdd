//! Tests of the daemon; one file of `daemon/` for each part.

#[path = "daemon/admission.rs"]
mod admission;
#[path = "daemon/ahead.rs"]
mod ahead;
#[path = "daemon/artifacts.rs"]
mod artifacts;
#[path = "daemon/blobs.rs"]
mod blobs;
#[path = "daemon/config.rs"]
mod config;
#[path = "daemon/containerd.rs"]
mod containerd;
#[path = "daemon/content.rs"]
mod content;
#[path = "daemon/content_driver.rs"]
mod content_driver;
#[path = "daemon/crash.rs"]
mod crash;
#[path = "daemon/crash_imports.rs"]
mod crash_imports;
#[path = "daemon/crash_snapshots.rs"]
mod crash_snapshots;
#[path = "daemon/ctr.rs"]
mod ctr;
#[path = "daemon/diff_apply.rs"]
mod diff_apply;
#[path = "daemon/diff_behind.rs"]
mod diff_behind;
#[path = "daemon/diff_cancel.rs"]
mod diff_cancel;
#[path = "daemon/diff_compare.rs"]
mod diff_compare;
#[path = "daemon/diff_errors.rs"]
mod diff_errors;
#[path = "daemon/diff_processors.rs"]
mod diff_processors;
#[path = "../../plugin/tests/support/driver_guest.rs"]
#[allow(clippy::unwrap_used, reason = "the tests of plugins do so")]
mod driver_guest;
#[path = "daemon/encrypted.rs"]
mod encrypted;
#[path = "daemon/errors.rs"]
mod errors;
#[path = "daemon/events.rs"]
mod events;
#[path = "../../client/tests/client/fake.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the client's tests use all of it, and so"
)]
mod fake;
#[path = "../../plugin/tests/support/filter_guest.rs"]
#[allow(
    clippy::unwrap_used,
    dead_code,
    reason = "the tests of plugins use all of it, and so"
)]
mod filter_guest;
#[path = "daemon/filters.rs"]
mod filters;
#[path = "../../plugin/tests/support/guests.rs"]
#[allow(clippy::unwrap_used, reason = "the tests of plugins do so")]
mod guests;
#[path = "daemon/introspection.rs"]
mod introspection;
#[path = "daemon/layers.rs"]
mod layers;
#[path = "daemon/lists.rs"]
mod lists;
#[path = "daemon/ocicrypt.rs"]
mod ocicrypt;
#[path = "daemon/panics.rs"]
mod panics;
#[path = "daemon/plugins.rs"]
mod plugins;
#[path = "daemon/plugins_breaker.rs"]
mod plugins_breaker;
#[path = "daemon/plugins_drivers.rs"]
mod plugins_drivers;
#[path = "daemon/plugins_install.rs"]
mod plugins_install;
#[path = "daemon/plugins_reload.rs"]
mod plugins_reload;
#[path = "daemon/process.rs"]
mod process;
#[path = "daemon/program.rs"]
mod program;
#[path = "daemon/python.rs"]
mod python;
#[path = "daemon/races.rs"]
mod races;
#[path = "daemon/registries.rs"]
mod registries;
#[path = "daemon/registries_cut.rs"]
mod registries_cut;
#[path = "daemon/registry.rs"]
mod registry;
#[path = "daemon/rig.rs"]
mod rig;
#[path = "daemon/server.rs"]
mod server;
#[path = "daemon/snapshots.rs"]
mod snapshots;
#[path = "daemon/snapshots_ctr.rs"]
mod snapshots_ctr;
#[path = "daemon/streaming.rs"]
mod streaming;
#[path = "daemon/suite.rs"]
mod suite;
#[path = "daemon/traces.rs"]
mod traces;
#[path = "daemon/transfer.rs"]
mod transfer;
#[path = "daemon/transfer_client.rs"]
mod transfer_client;
#[path = "daemon/updates.rs"]
mod updates;
#[path = "daemon/verifiers.rs"]
mod verifiers;
#[path = "daemon/write.rs"]
mod write;
