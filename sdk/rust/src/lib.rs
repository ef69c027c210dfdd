//! Write Transom plugins in Rust.
