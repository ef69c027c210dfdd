//! The messages and services.
