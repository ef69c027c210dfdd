//! The cache of other registries: ours, a registry that lies, Debian's docker-registry; with many clients at once, and killed.

#[path = "proxy/crash.rs"]
mod crash;
#[path = "proxy/debian.rs"]
mod debian;
#[path = "proxy/eviction.rs"]
mod eviction;
#[path = "proxy/halting.rs"]
mod halting;
#[path = "proxy/lying.rs"]
mod lying;
#[path = "proxy/mirror.rs"]
mod mirror;
#[path = "proxy/rig.rs"]
mod rig;
#[path = "proxy/together.rs"]
mod together;
