//! Everything that the indexes of a layout list, and which of it are images.

use std::collections::{BTreeMap, HashSet};

use transom_oci::limits::CONFIG_BYTES_MAX;
use transom_oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};

use crate::error::{Choice, ImageError};
use crate::limits;
use crate::resolve::names::names_of;
use crate::source::Source;

/// What the layout's own index lists: one thing and all its names.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) names: Vec<String>,
    pub(crate) descriptor: Descriptor,
}

/// The entries of the layout's index, those with the same digest taken together.
pub(crate) fn roots(index: &Index) -> Vec<Root> {
    let mut places: BTreeMap<&Digest, usize> = BTreeMap::new();
    let mut roots: Vec<Root> = Vec::new();
    for descriptor in &index.manifests {
        let place = *places.entry(&descriptor.digest).or_insert(roots.len());
        if place == roots.len() {
            roots.push(Root {
                names: Vec::new(),
                descriptor: descriptor.clone(),
            });
        }
        for name in names_of(descriptor) {
            if !roots[place].names.contains(&name) {
                roots[place].names.push(name);
            }
        }
    }
    roots
}

/// What a manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// An image for a platform; `None` when neither index nor configuration tells it.
    Image(Option<Platform>),
    /// A statement about an image beside it, which buildkit lists under the platform unknown/unknown.
    Attestation,
    /// Anything else, by its type.
    Artifact(String),
}

/// An image that could be meant.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) names: Vec<String>,
    pub(crate) descriptor: Descriptor,
    pub(crate) platform: Option<Platform>,
}

impl Candidate {
    pub(crate) fn choice(&self) -> Choice {
        Choice {
            names: self.names.clone(),
            digest: self.descriptor.digest.clone(),
            platform: self.platform.clone(),
        }
    }
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) images: Vec<Candidate>,
    pub(crate) artifacts: Vec<(Digest, String)>,
    /// Damaged or missing documents: no reason to fail while what is wanted can be read.
    pub(crate) unreadable: Vec<ImageError>,
}

/// Looks through all indexes below the roots.
pub(crate) fn find(source: &Source, roots: &[Root]) -> Result<Found, ImageError> {
    let mut found = Found::default();
    let mut budget = Budget::default();
    for root in roots {
        let (descriptors, unreadable) = flatten(source, &root.descriptor, &mut budget)?;
        found.unreadable.extend(unreadable);
        for descriptor in descriptors {
            if media_type::is_index(&descriptor.media_type) {
                continue;
            }
            match nature(source, &descriptor, &mut budget) {
                Ok(Nature::Image(platform)) => found.images.push(Candidate {
                    names: root.names.clone(),
                    descriptor,
                    platform,
                }),
                Ok(Nature::Artifact(kind)) => found.artifacts.push((descriptor.digest, kind)),
                Ok(Nature::Attestation) => {}
                Err(error @ ImageError::IndexLimit { .. }) => return Err(error),
                Err(error) => found.unreadable.push(error),
            }
        }
    }
    Ok(found)
}

/// A descriptor and all below it, each digest once, and the errors of indexes that cannot be read.
pub(crate) fn flatten(
    source: &Source,
    root: &Descriptor,
    budget: &mut Budget,
) -> Result<(Vec<Descriptor>, Vec<ImageError>), ImageError> {
    let mut seen: HashSet<Digest> = HashSet::new();
    let mut unreadable = Vec::new();
    let mut all = Vec::new();
    let mut open = vec![(root.clone(), 0)];
    while let Some((descriptor, depth)) = open.pop() {
        budget.visit(source, depth)?;
        if !seen.insert(descriptor.digest.clone()) {
            continue;
        }
        if media_type::is_index(&descriptor.media_type) {
            budget.read(source, &descriptor)?;
            match source.read_index(&descriptor) {
                // The last is taken first: turned around, they come in the order of the index.
                Ok(index) => open.extend(index.manifests.into_iter().rev().map(|below| (below, depth + 1))),
                Err(error) => unreadable.push(error),
            }
        }
        all.push(descriptor);
    }
    Ok((all, unreadable))
}

/// What looking through a source has cost so far. Few bytes on disk can be listed many times over, and would be
/// read and hashed as often.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    descriptors: usize,
    bytes: u64,
}

impl Budget {
    /// Counts a descriptor that was met at some depth of nested indexes.
    pub(crate) fn visit(&mut self, source: &Source, depth: usize) -> Result<(), ImageError> {
        self.descriptors += 1;
        if depth > limits::INDEX_DEPTH_MAX {
            let problem = format!("are nested deeper than {}", limits::INDEX_DEPTH_MAX);
            return Err(over_limit(source, problem));
        }
        if self.descriptors > limits::DESCRIPTORS_MAX {
            let problem = format!("list more than {} descriptors", limits::DESCRIPTORS_MAX);
            return Err(over_limit(source, problem));
        }
        Ok(())
    }

    /// Counts a document that is about to be read.
    pub(crate) fn read(&mut self, source: &Source, document: &Descriptor) -> Result<(), ImageError> {
        // What claims to be larger is refused before it is read.
        self.bytes += document.size.min(CONFIG_BYTES_MAX);
        if self.bytes > limits::DOCUMENT_BYTES_MAX {
            let problem = format!("list more than {} bytes of documents", limits::DOCUMENT_BYTES_MAX);
            return Err(over_limit(source, problem));
        }
        Ok(())
    }
}

fn over_limit(source: &Source, problem: String) -> ImageError {
    ImageError::IndexLimit {
        origin: source.origin().to_owned(),
        problem,
    }
}

/// Tells what a listed manifest is, from its descriptor if that says enough.
pub(crate) fn nature(
    source: &Source,
    descriptor: &Descriptor,
    budget: &mut Budget,
) -> Result<Nature, ImageError> {
    let kind = descriptor.media_type.as_str();
    if matches!(
        kind,
        media_type::DOCKER_MANIFEST_V1 | media_type::DOCKER_MANIFEST_V1_SIGNED
    ) {
        return Err(ImageError::Schema1 {
            document: source.document(descriptor),
        });
    }
    if !media_type::is_manifest(kind) {
        return Ok(Nature::Artifact(kind.to_owned()));
    }
    if let Some(artifact_type) = &descriptor.artifact_type
        && !media_type::is_image_config(artifact_type)
    {
        return Ok(Nature::Artifact(artifact_type.clone()));
    }
    if let Some(platform) = &descriptor.platform {
        return Ok(by_platform(platform));
    }
    budget.read(source, descriptor)?;
    let manifest = source.read_manifest(descriptor)?;
    if let Some(artifact_type) = artifact_type(&manifest) {
        return Ok(Nature::Artifact(artifact_type.to_owned()));
    }
    budget.read(source, &manifest.config)?;
    Ok(by_platform(&source.read_config(&manifest.config)?.platform))
}

/// The type of a manifest that is not an image.
pub(crate) fn artifact_type(manifest: &Manifest) -> Option<&str> {
    if media_type::is_image_config(&manifest.config.media_type) {
        return None;
    }
    let stated = manifest.artifact_type.as_deref();
    Some(stated.unwrap_or(&manifest.config.media_type))
}

fn by_platform(platform: &Platform) -> Nature {
    match (platform.os.as_str(), platform.architecture.as_str()) {
        ("unknown", "unknown") => Nature::Attestation,
        ("", "") => Nature::Image(None),
        _ => Nature::Image(Some(platform.clone())),
    }
}
