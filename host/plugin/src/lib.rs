//! WASM components as stages: load, check, limit, run.
