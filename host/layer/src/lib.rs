//! The bytes of a layer: processor chain, pump, decompression, tar apply.
