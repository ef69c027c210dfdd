//! Tests of the daemon; one file of `daemon/` for each part.

#[path = "daemon/blobs.rs"]
mod blobs;
#[path = "daemon/config.rs"]
mod config;
#[path = "daemon/containerd.rs"]
mod containerd;
#[path = "daemon/content.rs"]
mod content;
#[path = "daemon/crash.rs"]
mod crash;
#[path = "daemon/ctr.rs"]
mod ctr;
#[path = "daemon/errors.rs"]
mod errors;
#[path = "daemon/events.rs"]
mod events;
#[path = "daemon/filters.rs"]
mod filters;
#[path = "daemon/introspection.rs"]
mod introspection;
#[path = "daemon/panics.rs"]
mod panics;
#[path = "daemon/process.rs"]
mod process;
#[path = "daemon/program.rs"]
mod program;
#[path = "daemon/python.rs"]
mod python;
#[path = "daemon/races.rs"]
mod races;
#[path = "daemon/rig.rs"]
mod rig;
#[path = "daemon/server.rs"]
mod server;
#[path = "daemon/streaming.rs"]
mod streaming;
#[path = "daemon/suite.rs"]
mod suite;
#[path = "daemon/traces.rs"]
mod traces;
#[path = "daemon/updates.rs"]
mod updates;
#[path = "daemon/write.rs"]
mod write;
