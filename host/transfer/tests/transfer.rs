//! Tests of transfers; one file of `transfer/` for each part.
