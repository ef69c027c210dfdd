//! The secrets plugin.
