//! The `transom` command as a person runs it: its output, its exit codes, and what it leaves behind.
//!
//! Read in this order: `support` (running it), `image` (images for it, sound and broken), `guests` (plugins for it), then
//! one file for each thing that it does.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

#[path = "command/artifacts.rs"]
mod artifacts;
#[path = "command/bad_image.rs"]
mod bad_image;
#[path = "command/bad_target.rs"]
mod bad_target;
#[path = "command/content.rs"]
mod content;
#[path = "command/daemon.rs"]
mod daemon;
#[path = "command/distribution.rs"]
mod distribution;
#[path = "command/driver.rs"]
mod driver;
#[path = "../../plugin/tests/support/driver_guest.rs"]
mod driver_guest;
#[path = "command/encrypted.rs"]
mod encrypted;
#[expect(dead_code, reason = "the plugins' tests need all of it")]
#[path = "../../plugin/tests/support/filter_guest.rs"]
mod filter_guest;
#[path = "../../plugin/tests/support/guests.rs"]
mod guests;
#[path = "command/guides.rs"]
mod guides;
#[path = "command/help.rs"]
mod help;
#[path = "command/image.rs"]
mod image;
#[path = "command/inspect.rs"]
mod inspect;
#[path = "command/interrupt.rs"]
mod interrupt;
#[path = "command/large.rs"]
mod large;
#[path = "command/oras.rs"]
mod oras;
#[path = "command/plugin_bench.rs"]
mod plugin_bench;
#[path = "command/plugin_languages.rs"]
mod plugin_languages;
#[path = "command/plugin_new.rs"]
mod plugin_new;
#[path = "command/plugins.rs"]
mod plugins;
#[path = "command/processors.rs"]
mod processors;
#[path = "command/registry.rs"]
mod registry;
#[path = "command/registry_admission.rs"]
mod registry_admission;
#[path = "command/registry_clients.rs"]
mod registry_clients;
#[path = "command/registry_policy.rs"]
mod registry_policy;
#[path = "command/registry_reload.rs"]
mod registry_reload;
#[path = "command/registry_serve.rs"]
mod registry_serve;
#[path = "command/serving.rs"]
mod serving;
#[path = "command/support.rs"]
mod support;
#[path = "command/unpack.rs"]
mod unpack;
