//! The ends of transfers: which messages there are, and what they mean.

use std::path::PathBuf;

use prost::Message;
use prost_types::Any;
use tonic::Status;
use transom_api::transfer_types as api;
use transom_api::types;
use transom_meta::Class;
use transom_oci::Platform;
use transom_transfer::{ExportOptions, ImageStore, ImportOptions, Platforms, Reference, UnpackTo};

use crate::status;

/// One end.
#[derive(Debug)]
pub(super) enum End {
    /// The daemon's images.
    Store(ImageStore),
    /// A registry.
    Registry(RegistryEnd),
    /// An archive that a client sends.
    Import { stream: String, options: ImportOptions },
    /// An archive that a client is sent.
    Export { stream: String, options: ExportOptions },
    /// Anything else.
    Unknown,
}

/// An image in a registry, and how that is reached.
#[derive(Debug)]
pub(super) struct RegistryEnd {
    pub(super) name: String,
    /// The stream on which the client is asked for credentials; empty for none.
    pub(super) auth_stream: String,
    /// Sent with every request.
    pub(super) headers: http::HeaderMap,
    /// A folder with the hosts of registries, before the daemon's own.
    pub(super) hosts_folder: Option<PathBuf>,
    /// Whether hosts that nothing is said of are spoken with in the clear.
    pub(super) plain_http: bool,
}

impl End {
    pub(super) fn read(any: &Any) -> Result<End, Status> {
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        Ok(match name {
            "containerd.types.transfer.ImageStore" => End::Store(store(decode(any)?)),
            "containerd.types.transfer.OCIRegistry" => End::Registry(registry(decode(any)?)?),
            "containerd.types.transfer.ImageImportStream" => {
                let import: api::ImageImportStream = decode(any)?;
                // The media type says less than the first bytes do.
                let options = ImportOptions {
                    compress: import.force_compress,
                    ..ImportOptions::default()
                };
                let stream = import.stream;
                End::Import { stream, options }
            }
            "containerd.types.transfer.ImageExportStream" => {
                let export: api::ImageExportStream = decode(any)?;
                let options = ExportOptions {
                    platforms: platforms(export.platforms),
                    all_platforms: export.all_platforms,
                    skip_docker: export.skip_compatibility_manifest,
                    skip_nondistributable: export.skip_non_distributable,
                    ..ExportOptions::default()
                };
                let stream = export.stream;
                End::Export { stream, options }
            }
            _ => End::Unknown,
        })
    }
}

fn decode<M: Message + Default>(any: &Any) -> Result<M, Status> {
    M::decode(any.value.as_slice()).map_err(|error| {
        let text = format!("the {:?} cannot be read: {error}", any.type_url);
        status::said(Class::InvalidArgument, text)
    })
}

fn registry(registry: api::OciRegistry) -> Result<RegistryEnd, Status> {
    let resolver = registry.resolver.unwrap_or_default();
    let invalid = |text: String| status::said(Class::InvalidArgument, text);
    let mut headers = http::HeaderMap::new();
    for (name, value) in resolver.headers {
        // The value may be a secret.
        let wrong = || invalid(format!("the header {name:?} of the resolver cannot be sent"));
        let key = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.append(key, value.parse().map_err(|_| wrong())?);
    }
    let plain_http = match resolver.default_scheme.as_str() {
        "" | "https" => false,
        "http" => true,
        other => {
            let text = format!("the default scheme is \"http\" or \"https\", not {other:?}");
            return Err(invalid(text));
        }
    };
    Ok(RegistryEnd {
        name: registry.reference,
        auth_stream: resolver.auth_stream,
        headers,
        hosts_folder: Some(resolver.host_dir)
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from),
        plain_http,
    })
}

fn store(store: api::ImageStore) -> ImageStore {
    let reference = |reference: api::ImageReference| Reference {
        name: reference.name,
        is_prefix: reference.is_prefix,
        allow_overwrite: reference.allow_overwrite,
        add_digest: reference.add_digest,
        skip_named_digest: reference.skip_named_digest,
    };
    let unpack = |unpack: api::UnpackConfiguration| UnpackTo {
        platform: unpack.platform.map_or_else(Platform::host, platform),
        snapshotter: unpack.snapshotter,
    };
    ImageStore {
        name: store.name,
        labels: store.labels,
        platforms: platforms(store.platforms),
        all_metadata: store.all_metadata,
        manifest_limit: store.manifest_limit as usize,
        references: store.extra_references.into_iter().map(reference).collect(),
        unpacks: store.unpacks.into_iter().map(unpack).collect(),
    }
}

fn platforms(all: Vec<types::Platform>) -> Platforms {
    Platforms(all.into_iter().map(platform).collect())
}

fn platform(message: types::Platform) -> Platform {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Platform {
        architecture: message.architecture,
        os: message.os,
        os_version: some(message.os_version),
        os_features: message.os_features,
        variant: some(message.variant),
    }
    .normalised()
}
