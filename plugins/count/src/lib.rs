//! The count plugin.
