//! Tests of metadata; one file of `meta/` for each part.

#[path = "meta/kv.rs"]
mod kv;
#[path = "meta/kv_crash.rs"]
mod kv_crash;
#[path = "meta/kv_workload.rs"]
mod kv_workload;
