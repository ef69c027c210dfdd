//! Tests of metadata; one file of `meta/` for each part.
