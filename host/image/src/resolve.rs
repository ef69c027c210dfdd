//! From a source, a name and a platform to one image: first what is named, then what fits the platform best.
//! When that leaves several images, the person is asked to say which.

pub(crate) mod candidates;
pub(crate) mod docker;
mod names;

use transom_oci::limits::LAYERS_MAX;
use transom_oci::{Descriptor, Digest, ImageConfig, Manifest, Platform};

use crate::error::{Choice, ImageError};
use crate::reference::Selector;
use crate::source::docker::DockerEntry;
use crate::source::{Listing, Source, blob_name};
use candidates::{Budget, Candidate, Found, Root};
use names::best_match;

/// Which platform's image is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlatformChoice {
    /// This machine's, unless there is only one image: unpacking runs nothing, so that one will do.
    Host,
    /// This one, or the nearest that runs on it.
    Only(Platform),
}

/// An image, with all that is needed to unpack it. Every document has been verified, every layer is there and has
/// the right size.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name under which it was found; the first of several.
    pub name: Option<String>,
    /// The manifest's descriptor. In docker archives the manifest is made up from what is there, with Docker's
    /// media types; its bytes are `serde_json::to_vec(&manifest)`.
    pub descriptor: Descriptor,
    /// The manifest; its `config` is the configuration's descriptor.
    pub manifest: Manifest,
    /// The configuration, which also says the platform.
    pub config: ImageConfig,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
}

/// A layer that lies in the source; [`Source::open_layer`] reads it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Media type, digest and size of the bytes in the source.
    pub descriptor: Descriptor,
    /// The digest of the plain tar.
    pub diff_id: Digest,
    pub(crate) location: String,
}

/// Chooses an image of the source and reads its manifest and configuration.
///
/// # Errors
/// [`ImageError::NoSuchImage`], [`ImageError::NoSuchPlatform`] and [`ImageError::Ambiguous`] list what there is;
/// others say what is damaged.
pub fn resolve(source: &Source, selector: &Selector, platform: &PlatformChoice) -> Result<Image, ImageError> {
    match &source.listing {
        Listing::Oci(index) => {
            let roots = select(source, candidates::roots(index), selector)?;
            let found = candidates::find(source, &roots)?;
            let chosen = choose(source, found, platform)?;
            let name = name_of(&chosen, selector);
            load(source, chosen.descriptor, name)
        }
        Listing::Docker(entries) => resolve_docker(source, entries, selector, platform),
    }
}

fn resolve_docker(
    source: &Source,
    entries: &[DockerEntry],
    selector: &Selector,
    platform: &PlatformChoice,
) -> Result<Image, ImageError> {
    let choice = |entry: &&DockerEntry| {
        let image = docker::read_entry(source, entry).ok()?;
        Some(image.candidate.choice())
    };
    let all: Vec<&DockerEntry> = entries.iter().collect();
    let named = select_named(source, all, selector, |entry| &entry.repo_tags, choice)?;
    let mut images = named
        .into_iter()
        .map(|entry| docker::read_entry(source, entry))
        .collect::<Result<Vec<_>, _>>()?;
    let available = images.iter().map(|image| image.candidate.choice()).collect();
    if let Some(digest) = &selector.digest {
        images.retain(|image| image.candidate.descriptor.digest == *digest);
        if images.is_empty() {
            return Err(no_such_image(source, selector, available));
        }
    }
    let found = Found {
        images: images.iter().map(|image| image.candidate.clone()).collect(),
        ..Found::default()
    };
    let chosen = choose(source, found, platform)?;
    let name = name_of(&chosen, selector);
    let mut images = images.into_iter();
    let image = images.find(|image| image.candidate.descriptor == chosen.descriptor);
    docker::load(source, image.expect("the chosen one is one of them"), name)
}

/// The roots that have the name, then what has the digest among all below them.
fn select(source: &Source, roots: Vec<Root>, selector: &Selector) -> Result<Vec<Root>, ImageError> {
    let choice = |root: &Root| {
        Some(Choice {
            names: root.names.clone(),
            digest: root.descriptor.digest.clone(),
            platform: root.descriptor.platform.clone(),
        })
    };
    let roots = select_named(source, roots, selector, |root| &root.names, choice)?;
    let Some(digest) = &selector.digest else {
        return Ok(roots);
    };
    if let Some(root) = roots.iter().find(|root| root.descriptor.digest == *digest) {
        return Ok(vec![root.clone()]);
    }
    let mut budget = Budget::default();
    let mut unreadable = None;
    for root in &roots {
        let (below, errors) = candidates::flatten(source, &root.descriptor, &mut budget)?;
        unreadable = unreadable.or(errors.into_iter().next());
        if let Some(descriptor) = below.into_iter().find(|below| below.digest == *digest) {
            let names = root.names.clone();
            return Ok(vec![Root { names, descriptor }]);
        }
    }
    let available = roots.iter().filter_map(choice).collect();
    Err(unreadable.unwrap_or_else(|| no_such_image(source, selector, available)))
}

/// Those of `all` that answer the name best; all of them when no name is asked for.
fn select_named<T>(
    source: &Source,
    all: Vec<T>,
    selector: &Selector,
    names: impl Fn(&T) -> &Vec<String>,
    choice: impl Fn(&T) -> Option<Choice>,
) -> Result<Vec<T>, ImageError> {
    let Some(wanted) = &selector.name else {
        return Ok(all);
    };
    let quality = |item: &T| best_match(wanted, names(item)).map(|(quality, _)| quality);
    let Some(best) = all.iter().filter_map(&quality).min() else {
        let available = all.iter().filter_map(choice).collect();
        return Err(no_such_image(source, selector, available));
    };
    Ok(all
        .into_iter()
        .filter(|item| quality(item) == Some(best))
        .collect())
}

fn no_such_image(source: &Source, selector: &Selector, available: Vec<Choice>) -> ImageError {
    ImageError::NoSuchImage {
        origin: source.origin().to_owned(),
        wanted: selector.to_string(),
        available,
    }
}

fn name_of(chosen: &Candidate, selector: &Selector) -> Option<String> {
    let asked = selector.name.as_ref();
    let asked = asked.and_then(|wanted| best_match(wanted, &chosen.names));
    asked
        .map(|(_, name)| name.to_owned())
        .or_else(|| chosen.names.first().cloned())
}

/// The one image that the platform leaves.
fn choose(source: &Source, found: Found, wanted: &PlatformChoice) -> Result<Candidate, ImageError> {
    let Found {
        images,
        artifacts,
        unreadable,
    } = found;
    let mut unreadable = unreadable.into_iter();
    let Some(first) = images.first() else {
        return Err(unreadable.next().unwrap_or_else(|| nothing(source, artifacts)));
    };
    // Images under different names are different images, whatever their platforms.
    if images.iter().any(|image| image.names != first.names) && !all_same(&images) {
        return Err(ambiguous(source, &images));
    }
    let platform = match wanted {
        PlatformChoice::Host => Platform::host(),
        PlatformChoice::Only(platform) => platform.clone(),
    };
    let rank = |image: &Candidate| platform.rank(image.platform.as_ref()?);
    let best = images.iter().filter_map(rank).min();
    let fitting = images
        .iter()
        .filter(|image| best.is_some() && rank(image) == best);
    let fitting: Vec<Candidate> = fitting.cloned().collect();
    match (fitting.first(), wanted) {
        (Some(chosen), _) if all_same(&fitting) => Ok(chosen.clone()),
        (Some(_), _) => Err(ambiguous(source, &fitting)),
        (None, PlatformChoice::Host) if all_same(&images) => Ok(first.clone()),
        (None, _) => Err(ImageError::NoSuchPlatform {
            origin: source.origin().to_owned(),
            wanted: Box::new(platform),
            available: images.iter().map(Candidate::choice).collect(),
            unreadable: unreadable.next().map(Box::new),
        }),
    }
}

fn all_same(images: &[Candidate]) -> bool {
    images
        .iter()
        .all(|image| image.descriptor.digest == images[0].descriptor.digest)
}

fn ambiguous(source: &Source, images: &[Candidate]) -> ImageError {
    ImageError::Ambiguous {
        origin: source.origin().to_owned(),
        choices: images.iter().map(Candidate::choice).collect(),
    }
}

fn nothing(source: &Source, artifacts: Vec<(Digest, String)>) -> ImageError {
    let origin = source.origin().to_owned();
    match artifacts.into_iter().next() {
        Some((digest, artifact_type)) => ImageError::Artifact {
            origin,
            digest,
            artifact_type,
        },
        None => ImageError::Empty { origin },
    }
}

fn load(source: &Source, descriptor: Descriptor, name: Option<String>) -> Result<Image, ImageError> {
    let manifest = source.read_manifest(&descriptor)?;
    if let Some(artifact_type) = candidates::artifact_type(&manifest) {
        return Err(ImageError::Artifact {
            origin: source.origin().to_owned(),
            digest: descriptor.digest,
            artifact_type: artifact_type.to_owned(),
        });
    }
    let config = source.read_config(&manifest.config)?;
    let diff_ids = &config.rootfs.diff_ids;
    check_layer_count(
        &source.document(&descriptor),
        manifest.layers.len(),
        diff_ids.len(),
    )?;
    let mut layers = Vec::with_capacity(manifest.layers.len());
    for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
        // Now rather than after the layers below it have been unpacked.
        if !source.coming {
            source.find_blob(layer)?;
        }
        layers.push(Layer {
            descriptor: layer.clone(),
            diff_id: diff_id.clone(),
            location: blob_name(&layer.digest),
        });
    }
    Ok(Image {
        name,
        descriptor,
        manifest,
        config,
        layers,
    })
}

/// One diffID for each layer, and not more layers than any image has.
pub(crate) fn check_layer_count(document: &str, layers: usize, diff_ids: usize) -> Result<(), ImageError> {
    let document = || document.to_owned();
    if layers > LAYERS_MAX {
        return Err(ImageError::TooManyLayers {
            document: document(),
            layers,
            limit: LAYERS_MAX,
        });
    }
    if layers != diff_ids {
        return Err(ImageError::LayerCount {
            document: document(),
            layers,
            diff_ids,
        });
    }
    Ok(())
}
