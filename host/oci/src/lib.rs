//! The words of the OCI specifications: digests and their engines, descriptors, manifests, media types.
