//! What a stranger's JSON may cost, and why.

/// Bytes of one manifest or index. The distribution specification asks registries to take at least 4 MiB, and
/// the registries in use refuse more, so a larger one comes from nowhere good.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Bytes of one image configuration. Histories of thousands of layers stay below 1 MiB.
pub const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// Layers of one image. overlayfs takes 500 lower folders, docker stops at 127.
pub const LAYERS_MAX: usize = 1_000;
