//! Snapshotters: overlayfs and native.
