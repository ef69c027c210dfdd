//! Tests of metadata; one file of `meta/` for each part.

#[path = "meta/filter.rs"]
mod filter;
#[path = "meta/filter_patterns.rs"]
mod filter_patterns;
#[path = "meta/filter_plugins.rs"]
mod filter_plugins;
#[path = "meta/filter_properties.rs"]
mod filter_properties;
#[path = "meta/kv.rs"]
mod kv;
#[path = "meta/kv_crash.rs"]
mod kv_crash;
#[path = "meta/kv_workload.rs"]
mod kv_workload;
