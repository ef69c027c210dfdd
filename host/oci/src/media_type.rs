//! Media types that Transom knows, and questions about them.

/// An OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image configuration.
pub const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The empty JSON document that artifacts use as configuration.
pub const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";

/// A plain OCI layer, where every chain of processors ends.
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// An OCI layer compressed with gzip.
pub const LAYER_TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// An OCI layer compressed with zstd.
pub const LAYER_TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// A plain OCI layer that registries do not carry.
pub const LAYER_NONDISTRIBUTABLE_TAR: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// A Docker schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A Docker manifest list.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A Docker schema 1 manifest, no longer supported.
pub const DOCKER_MANIFEST_V1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// A signed Docker schema 1 manifest, no longer supported.
pub const DOCKER_MANIFEST_V1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// A Docker image configuration.
pub const DOCKER_IMAGE_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// A Docker layer whose compression is told by its first bytes.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// A Docker layer compressed with gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// A Docker layer compressed with zstd.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// A Docker layer that registries do not carry.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
/// A Docker layer that registries do not carry, compressed with gzip.
pub const DOCKER_FOREIGN_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// Whether it names an index or manifest list.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, INDEX | DOCKER_MANIFEST_LIST)
}

/// Whether it names an image manifest.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, MANIFEST | DOCKER_MANIFEST)
}

/// Whether it names an image configuration.
pub fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, IMAGE_CONFIG | DOCKER_IMAGE_CONFIG)
}

/// Whether it names a configuration of an image or of a checkpoint: what containerd's clients keep under `config`.
pub fn is_known_config(media_type: &str) -> bool {
    is_image_config(media_type)
        || matches!(
            media_type,
            "application/vnd.containerd.container.criu.checkpoint.criu.tar"
                | "application/vnd.containerd.container.checkpoint.config.v1+proto"
        )
}

/// Whether it names a layer, whatever was done to it; containerd's `IsLayerType`.
pub fn is_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || matches!(
            split_suffixes(media_type).0,
            DOCKER_LAYER
                | DOCKER_LAYER_GZIP
                | DOCKER_LAYER_ZSTD
                | DOCKER_FOREIGN_LAYER
                | DOCKER_FOREIGN_LAYER_GZIP
                | "application/vnd.erofs.layer.v1"
        )
}

/// Whether it names a layer that must not be handed on.
pub fn is_nondistributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// A media type cut at its first `+` into the base and the suffixes, sorted as containerd sorts them.
pub fn split_suffixes(media_type: &str) -> (&str, Vec<&str>) {
    let mut parts = media_type.split('+');
    let base = parts.next().unwrap_or(media_type);
    let mut suffixes: Vec<&str> = parts.collect();
    suffixes.sort_unstable();
    (base, suffixes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_sorted() {
        let (base, suffixes) = split_suffixes("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        assert_eq!((base, suffixes), (LAYER_TAR, vec!["encrypted", "gzip"]));
        assert_eq!(split_suffixes(LAYER_TAR), (LAYER_TAR, vec![]));
    }
}
