//! The xz plugin.
