//! Layers and mounts: a layer applied to mounts, and the changes between two sets of mounts as a layer.
