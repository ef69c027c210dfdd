//! Everything a source holds, as a tree to print. What is damaged is told in its place and stops nothing.

use std::collections::BTreeMap;

use serde::Serialize;
use transom_oci::{Descriptor, Digest, ImageConfig, Platform, chain_ids, media_type};

use crate::error::ImageError;
use crate::resolve::candidates::{Budget, Nature, Root, artifact_type, nature, roots};
use crate::resolve::{check_layer_count, docker};
use crate::source::docker::DockerEntry;
use crate::source::{Format, Listing, Source};

/// A source and all that it lists.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The path it was opened from.
    pub source: String,
    /// What kind of source it is.
    pub format: Format,
    /// What its index lists, in that order.
    pub entries: Vec<Node>,
}

/// What a descriptor points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// An index, with `manifests`.
    Index,
    /// An image, with `image`.
    Image,
    /// A statement about an image beside it, such as its provenance.
    Attestation,
    /// Something else; `artifact_type` says what.
    Artifact,
    /// It could not be read; `problem` says why.
    Unreadable,
}

/// An index, a manifest or something else that is listed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its names in the source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Its media type.
    pub media_type: String,
    /// Its digest; in docker archives, which have no manifests, that of the configuration.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Its platform, from the index or else the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Its type, when it is no image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations in the index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What an index lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Node>,
    /// What an image is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageNode>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An image's parts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageNode {
    /// When it was made, as the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The configuration's descriptor.
    pub config: Descriptor,
    /// The bytes of all layers as they are stored.
    pub layers_size: u64,
    /// The layers, lowest first.
    pub layers: Vec<LayerNode>,
}

/// A layer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerNode {
    /// The layer's media type, digest, size and annotations.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// The digest of the plain tar.
    #[serde(rename = "diffID", skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<Digest>,
    /// The digest of this and all layers below it.
    #[serde(rename = "chainID", skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<Digest>,
    /// Why it cannot be read: it is missing, or has the wrong size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Looks at everything in a source.
///
/// # Errors
/// [`ImageError::IndexLimit`], and what is wrong with the configurations of a docker archive, which has no digests
/// of its own to list them by; other problems are part of the answer.
pub fn inspect(source: &Source) -> Result<Inspection, ImageError> {
    let entries = match &source.listing {
        Listing::Oci(index) => {
            let mut budget = Budget::default();
            let nodes = roots(index).into_iter().map(|root| {
                let Root { names, descriptor } = root;
                let node = inspect_descriptor(source, &descriptor, 0, &mut budget)?;
                Ok(Node { names, ..node })
            });
            nodes.collect::<Result<_, ImageError>>()?
        }
        Listing::Docker(entries) => {
            let mut nodes = Vec::with_capacity(entries.len());
            for entry in entries {
                nodes.push(inspect_docker(source, entry)?);
            }
            nodes
        }
    };
    Ok(Inspection {
        source: source.origin().to_owned(),
        format: source.format(),
        entries,
    })
}

fn inspect_descriptor(
    source: &Source,
    descriptor: &Descriptor,
    depth: usize,
    budget: &mut Budget,
) -> Result<Node, ImageError> {
    budget.visit(source, depth)?;
    let node = node(descriptor);
    if !media_type::is_index(&descriptor.media_type) {
        return match inspect_manifest(source, descriptor, node.clone(), budget) {
            Err(error @ ImageError::IndexLimit { .. }) => Err(error),
            Err(error) => Ok(unreadable(node, &error)),
            inspected => inspected,
        };
    }
    budget.read(source, descriptor)?;
    let index = match source.read_index(descriptor) {
        Ok(index) => index,
        Err(error) => return Ok(unreadable(node, &error)),
    };
    let below = index.manifests.iter();
    let manifests = below.map(|below| inspect_descriptor(source, below, depth + 1, budget));
    Ok(Node {
        kind: NodeKind::Index,
        manifests: manifests.collect::<Result<_, _>>()?,
        ..node
    })
}

fn inspect_manifest(
    source: &Source,
    descriptor: &Descriptor,
    node: Node,
    budget: &mut Budget,
) -> Result<Node, ImageError> {
    match nature(source, descriptor, budget)? {
        Nature::Artifact(artifact_type) => Ok(artifact(node, artifact_type)),
        Nature::Attestation => Ok(Node {
            kind: NodeKind::Attestation,
            ..node
        }),
        Nature::Image(platform) => {
            budget.read(source, descriptor)?;
            let manifest = source.read_manifest(descriptor)?;
            if let Some(artifact_type) = artifact_type(&manifest) {
                return Ok(artifact(node, artifact_type.to_owned()));
            }
            budget.read(source, &manifest.config)?;
            let config = source.read_config(&manifest.config)?;
            let layers = manifest.layers.into_iter().map(|layer| {
                let problem = source.find_blob(&layer).err();
                (layer, problem)
            });
            let layers = layers.collect();
            Ok(image(node, platform, manifest.config, &config, layers))
        }
    }
}

fn inspect_docker(source: &Source, entry: &DockerEntry) -> Result<Node, ImageError> {
    let read = docker::read_entry(source, entry)?;
    let node = Node {
        names: entry.repo_tags.clone(),
        ..node(&read.candidate.descriptor)
    };
    let diff_ids = &read.config.rootfs.diff_ids;
    if let Err(error) = check_layer_count(&entry.config, entry.layers.len(), diff_ids.len()) {
        return Ok(unreadable(node, &error));
    }
    let mut layers = Vec::with_capacity(entry.layers.len());
    for (location, diff_id) in entry.layers.iter().zip(diff_ids) {
        match docker::describe(source, entry, location, diff_id) {
            Ok(descriptor) => layers.push((descriptor, None)),
            Err(error) => {
                let unknown = Descriptor::new(media_type::DOCKER_LAYER, diff_id.clone(), 0);
                layers.push((unknown, Some(error)));
            }
        }
    }
    let config = read.candidate.descriptor;
    Ok(image(node, read.candidate.platform, config, &read.config, layers))
}

fn image(
    node: Node,
    platform: Option<Platform>,
    config_descriptor: Descriptor,
    config: &ImageConfig,
    layers: Vec<(Descriptor, Option<ImageError>)>,
) -> Node {
    let diff_ids = &config.rootfs.diff_ids;
    let chain = chain_ids(diff_ids);
    let problem = check_layer_count(node.digest.as_str(), layers.len(), diff_ids.len()).err();
    let size = |sum: u64, layer: &(Descriptor, _)| sum.saturating_add(layer.0.size);
    let layers_size = layers.iter().fold(0, size);
    let layers = layers
        .into_iter()
        .enumerate()
        .map(|(at, (descriptor, problem))| LayerNode {
            descriptor,
            diff_id: diff_ids.get(at).cloned(),
            chain_id: chain.get(at).cloned(),
            problem: problem.map(|error| error.to_string()),
        });
    Node {
        kind: NodeKind::Image,
        platform,
        image: Some(ImageNode {
            created: config.created.clone(),
            config: config_descriptor,
            layers_size,
            layers: layers.collect(),
        }),
        problem: problem.map(|error| error.to_string()),
        ..node
    }
}

fn artifact(node: Node, artifact_type: String) -> Node {
    Node {
        kind: NodeKind::Artifact,
        artifact_type: Some(artifact_type),
        ..node
    }
}

fn unreadable(node: Node, error: &ImageError) -> Node {
    Node {
        kind: NodeKind::Unreadable,
        problem: Some(error.to_string()),
        ..node
    }
}

fn node(descriptor: &Descriptor) -> Node {
    Node {
        kind: NodeKind::Unreadable,
        names: Vec::new(),
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        platform: descriptor.platform.clone(),
        artifact_type: descriptor.artifact_type.clone(),
        annotations: descriptor.annotations.clone(),
        manifests: Vec::new(),
        image: None,
        problem: None,
    }
}
