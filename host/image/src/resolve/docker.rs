//! Images of `docker save` archives. They have no manifests; one is made here from configuration and layers, as
//! containerd does on import, so that the rest of Transom sees one kind of image only.

use std::io::{self, Read};

use transom_oci::limits::CONFIG_BYTES_MAX;
use transom_oci::{Algorithm, Descriptor, Digest, Hasher, ImageConfig, Manifest, media_type};

use crate::error::ImageError;
use crate::resolve::candidates::Candidate;
use crate::resolve::{Image, Layer, check_layer_count};
use crate::source::Source;
use crate::source::blob::{BlobReader, Extent};
use crate::source::docker::DockerEntry;
use crate::source::document::{named, parse_json, read_named};
use crate::source::spool::{self, Compression};

/// An image of the archive: its entry and what its configuration says. The candidate's descriptor is the
/// configuration's, whose digest docker calls the image ID.
#[derive(Debug)]
pub(crate) struct DockerImage<'a> {
    pub(crate) entry: &'a DockerEntry,
    pub(crate) config: ImageConfig,
    pub(crate) candidate: Candidate,
}

/// Reads and verifies the configuration of an entry.
pub(crate) fn read_entry<'a>(source: &Source, entry: &'a DockerEntry) -> Result<DockerImage<'a>, ImageError> {
    let origin = source.origin();
    let bytes = read_named(&source.store, &entry.config, origin, CONFIG_BYTES_MAX)?
        .ok_or_else(|| missing(source, &entry.config))?;
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    if let Some(promised) = entry.promised_config_digest()
        && promised != digest
    {
        return Err(ImageError::WrongDigest {
            digest: promised,
            origin: origin.to_owned(),
            actual: digest,
        });
    }
    let config: ImageConfig = parse_json(&bytes, &named(&entry.config, origin))?;
    let descriptor = Descriptor::new(media_type::DOCKER_IMAGE_CONFIG, digest, bytes.len() as u64);
    let platform = Some(config.platform.clone()).filter(|platform| !platform.os.is_empty());
    Ok(DockerImage {
        entry,
        config,
        candidate: Candidate {
            names: entry.repo_tags.clone(),
            descriptor,
            platform,
        },
    })
}

/// The whole image. Layers that are compressed and of unknown digest are read once for it.
pub(crate) fn load(
    source: &Source,
    image: DockerImage<'_>,
    name: Option<String>,
) -> Result<Image, ImageError> {
    let DockerImage {
        entry,
        config,
        candidate,
    } = image;
    let document = named(&entry.config, source.origin());
    check_layer_count(&document, entry.layers.len(), config.rootfs.diff_ids.len())?;
    let mut layers = Vec::with_capacity(entry.layers.len());
    for (location, diff_id) in entry.layers.iter().zip(&config.rootfs.diff_ids) {
        layers.push(Layer {
            descriptor: describe(source, entry, location, diff_id)?,
            diff_id: diff_id.clone(),
            location: location.clone(),
        });
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::DOCKER_MANIFEST.into()),
        artifact_type: None,
        config: candidate.descriptor,
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        subject: None,
        annotations: std::collections::BTreeMap::new(),
    };
    let bytes = serde_json::to_vec(&manifest).expect("a manifest has only texts and numbers");
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    Ok(Image {
        name,
        descriptor: Descriptor::new(media_type::DOCKER_MANIFEST, digest, bytes.len() as u64),
        manifest,
        config,
        layers,
    })
}

/// A layer's descriptor. What docker recorded of the layer's origin counts when the file has that size. Else a
/// plain tar has its diffID as digest, for those are the same bytes (unpacking verifies both), and a compressed
/// one, which only other tools write, is hashed.
pub(crate) fn describe(
    source: &Source,
    entry: &DockerEntry,
    location: &str,
    diff_id: &Digest,
) -> Result<Descriptor, ImageError> {
    let file = source.store.open(location)?;
    let file = file.ok_or_else(|| missing(source, location))?;
    if let Some(recorded) = entry.layer_sources.get(diff_id.as_str())
        && recorded.size == file.size()
    {
        return Ok(recorded.clone());
    }
    let failed = |error: io::Error| ImageError::Io {
        action: "read",
        path: source.origin().into(),
        source: error,
    };
    let mut start = Vec::new();
    let mut head = file.clone().take(spool::MAGIC_BYTES as u64);
    head.read_to_end(&mut start).map_err(failed)?;
    let size = file.size();
    let (kind, digest) = match spool::sniff(&start) {
        None => (media_type::DOCKER_LAYER, diff_id.clone()),
        Some(Compression::Gzip) => (media_type::DOCKER_LAYER_GZIP, hash(file).map_err(failed)?),
        Some(Compression::Zstd) => (media_type::DOCKER_LAYER_ZSTD, hash(file).map_err(failed)?),
        // Docker's type for "told by its first bytes": a processor may know what we do not.
        Some(Compression::Foreign(_)) => (media_type::DOCKER_LAYER, hash(file).map_err(failed)?),
    };
    Ok(Descriptor::new(kind, digest, size))
}

fn hash(mut file: Extent) -> io::Result<Digest> {
    const BUFFER_BYTES: usize = 256 << 10;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut hasher = Hasher::new(Algorithm::Sha256);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn missing(source: &Source, member: &str) -> ImageError {
    ImageError::MissingMember {
        origin: source.origin().to_owned(),
        member: member.to_owned(),
    }
}
