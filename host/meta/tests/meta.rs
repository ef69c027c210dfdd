//! Tests of metadata; one file of `meta/` for each part.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "meta/admission.rs"]
mod admission;
#[path = "meta/content.rs"]
mod content;
#[path = "meta/events.rs"]
mod events;
#[path = "meta/filter.rs"]
mod filter;
#[path = "meta/filter_patterns.rs"]
mod filter_patterns;
#[path = "meta/filter_plugins.rs"]
mod filter_plugins;
#[path = "meta/filter_properties.rs"]
mod filter_properties;
#[path = "meta/format.rs"]
mod format;
#[path = "meta/fsck.rs"]
mod fsck;
#[path = "meta/fsck_snapshots.rs"]
mod fsck_snapshots;
#[path = "meta/gc.rs"]
mod gc;
#[path = "meta/gc_measure.rs"]
mod gc_measure;
#[path = "meta/gc_model.rs"]
mod gc_model;
#[path = "meta/gc_part.rs"]
mod gc_part;
#[path = "meta/gc_races.rs"]
mod gc_races;
#[path = "meta/grace.rs"]
mod grace;
#[path = "meta/images.rs"]
mod images;
#[path = "meta/images_update.rs"]
mod images_update;
#[path = "meta/interleave.rs"]
mod interleave;
#[path = "meta/kv.rs"]
mod kv;
#[path = "meta/kv_crash.rs"]
mod kv_crash;
#[path = "meta/kv_files.rs"]
mod kv_files;
#[path = "meta/kv_measure.rs"]
mod kv_measure;
#[path = "meta/kv_power.rs"]
mod kv_power;
#[path = "meta/kv_workload.rs"]
mod kv_workload;
#[path = "meta/leases.rs"]
mod leases;
#[path = "meta/migration.rs"]
mod migration;
#[path = "meta/namespaces.rs"]
mod namespaces;
#[path = "meta/plugin_lists.rs"]
mod plugin_lists;
#[path = "meta/races.rs"]
mod races;
#[path = "meta/records.rs"]
mod records;
#[path = "meta/snapshots.rs"]
mod snapshots;
#[path = "meta/snapshots_errors.rs"]
mod snapshots_errors;
#[path = "meta/snapshots_gc.rs"]
mod snapshots_gc;
#[path = "meta/snapshotter.rs"]
mod snapshotter;
