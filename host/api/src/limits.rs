//! The limits of messages, each with its reason.

/// Largest message in either direction, in bytes. containerd's, and that of its clients, who send writes of up to half of it.
pub const MESSAGE_BYTES: usize = 16 << 20;

/// How deep [`fields`](crate::fields) looks into messages within messages.
pub const DEPTH: usize = 16;
