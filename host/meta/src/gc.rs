//! Garbage collection: what nothing keeps any more is removed.

pub(crate) mod grace;
pub(crate) mod labels;
