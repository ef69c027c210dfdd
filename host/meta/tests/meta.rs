//! Tests of metadata; one file of `meta/` for each part.

#[path = "meta/kv.rs"]
mod kv;
