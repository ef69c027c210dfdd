//! Tests of the daemon; one file of `daemon/` for each part.
