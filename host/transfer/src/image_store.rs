//! The image store as one end of a transfer: which platforms of an image, and under which names it is saved or looked up.

use std::time::SystemTime;

use transom_content::timestamp;
use transom_meta::images::{Image, NewImage, Target};
use transom_meta::{Caller, Error, Labels, Metadata};
use transom_oci::{Descriptor, Platform, media_type};

use crate::error::TransferError;
use crate::{limits, reference};

/// Images of the store: what a transfer reads, or how it saves what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageStore {
    /// The image's name; of an import, the name for the whole index. Empty for none.
    pub name: String,
    /// Labels for what is saved.
    pub labels: Labels,
    /// The platforms that count; all if there are none.
    pub platforms: Platforms,
    /// Keep manifests and configurations of other platforms too.
    pub all_metadata: bool,
    /// At most so many manifests of each index, best platform first; 0 for all.
    pub manifest_limit: usize,
    /// Further names.
    pub references: Vec<Reference>,
    /// What is unpacked, and where.
    pub unpacks: Vec<UnpackTo>,
}

/// A further name of an image, or a rule that gives some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// The name, or the prefix of names.
    pub name: String,
    /// Whether it is a prefix, to which a tag or digest is added. The following only mean something then.
    pub is_prefix: bool,
    /// Whether whole names in an archive count though they do not begin with the prefix.
    pub allow_overwrite: bool,
    /// Whether the prefix with the digest is a name, too.
    pub add_digest: bool,
    /// Whether that is left out for what has a name in the archive.
    pub skip_named_digest: bool,
}

/// Platforms to choose by; none mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platforms(pub Vec<Platform>);

/// What is unpacked into which snapshotter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpackTo {
    /// Images for this platform.
    pub platform: Platform,
    /// The snapshotter; empty for the namespace's default.
    pub snapshotter: String,
}

impl Platforms {
    /// How well something for `platform` serves; lower is better, none is not at all.
    #[must_use]
    pub fn rank(&self, platform: &Platform) -> Option<usize> {
        if self.0.is_empty() {
            return Some(0);
        }
        // A later wish counts less than any variant of an earlier one.
        const VARIANTS: usize = 64;
        let ranks = self.0.iter().enumerate();
        let ranks = ranks.filter_map(|(at, wanted)| Some(at * VARIANTS + wanted.rank(platform)?));
        ranks.min()
    }

    /// Whether a descriptor is for one of them. One that does not say what it is for may be.
    #[must_use]
    pub fn take(&self, descriptor: &Descriptor) -> bool {
        let platform = descriptor.platform.as_ref();
        platform.is_none_or(|platform| self.rank(platform).is_some())
    }
}

impl ImageStore {
    /// A store with one name.
    #[must_use]
    pub fn named(name: &str) -> ImageStore {
        ImageStore {
            name: name.to_owned(),
            ..ImageStore::default()
        }
    }

    /// Refuses more names than there may be.
    ///
    /// # Errors
    /// [`TransferError::Limit`].
    pub fn check(&self) -> Result<(), TransferError> {
        if self.references.len() <= limits::REFERENCES {
            return Ok(());
        }
        Err(TransferError::Limit {
            what: "the references of an image store".to_owned(),
            limit: limits::REFERENCES as u64,
        })
    }

    /// What is wanted of what a manifest or index lists.
    ///
    /// # Errors
    /// [`TransferError::NotFound`] if a limited number of manifests is wanted, and none suits.
    pub fn wanted(
        &self,
        of: &Descriptor,
        mut children: Vec<Descriptor>,
    ) -> Result<Vec<Descriptor>, TransferError> {
        let platforms = &self.platforms;
        if !self.all_metadata {
            children.retain(|child| platforms.take(child));
        } else if media_type::is_manifest(&of.media_type) && !platforms.take(of) {
            children.retain(|child| media_type::is_image_config(&child.media_type));
        }
        let limit = self.manifest_limit;
        if limit > 0 && media_type::is_index(&of.media_type) {
            if children.is_empty() {
                return Err(TransferError::NotFound {
                    object: "no match for platform in manifest".to_owned(),
                });
            }
            let rank = |child: &Descriptor| {
                let platform = child.platform.as_ref();
                platform.map_or(usize::MAX, |platform| {
                    platforms.rank(platform).unwrap_or(usize::MAX - 1)
                })
            };
            children.sort_by_key(rank);
            children.truncate(limit);
        }
        Ok(children)
    }

    /// The names and labels for what an archive lists at its top, by its annotations.
    #[must_use]
    pub fn names_of_listed(&self, listed: &Descriptor) -> Vec<(String, Labels)> {
        let mut names = Vec::new();
        let prefixes = self.references.iter().filter(|reference| reference.is_prefix);
        for rule in prefixes {
            let named = reference::under_prefix(&listed.annotations, &rule.name, rule.allow_overwrite);
            let digested = rule.add_digest && !(rule.skip_named_digest && named.is_some());
            names.extend(named);
            names.extend(digested.then(|| format!("{}@{}", rule.name, listed.digest)));
        }
        self.with_labels(names)
    }

    /// The names and labels for an image as a whole. Prefixes without a digest give none.
    #[must_use]
    pub fn names_of_whole(&self, whole: &Descriptor) -> Vec<(String, Labels)> {
        let further = self.references.iter().filter_map(|rule| match rule {
            Reference { add_digest: true, .. } => Some(format!("{}@{}", rule.name, whole.digest)),
            Reference { is_prefix: true, .. } => None,
            _ => Some(rule.name.clone()),
        });
        let mut names = Vec::new();
        if !self.name.is_empty() {
            names.push((self.name.clone(), self.labels.clone()));
        }
        names.extend(self.with_labels(further.collect()));
        names
    }

    /// Further names of a named image go with it: they have expired, and only it keeps them.
    fn with_labels(&self, names: Vec<String>) -> Vec<(String, Labels)> {
        let mut labels = self.labels.clone();
        if !self.name.is_empty() {
            labels.insert("containerd.io/gc.bref.image".to_owned(), self.name.clone());
            labels.insert(
                "containerd.io/gc.expire".to_owned(),
                timestamp::format(SystemTime::now()),
            );
        }
        names.into_iter().map(|name| (name, labels.clone())).collect()
    }

    /// The images that are named.
    ///
    /// # Errors
    /// [`TransferError::Unimplemented`] for a prefix, [`TransferError::Meta`] if one is missing.
    pub async fn look_up(&self, metadata: &Metadata, caller: &Caller) -> Result<Vec<Image>, TransferError> {
        self.check()?;
        let mut images = Vec::new();
        if !self.name.is_empty() {
            images.push(metadata.image(caller, &self.name).await?);
        }
        for reference in &self.references {
            if reference.is_prefix {
                let what = "prefix lookup on export not implemented".to_owned();
                return Err(TransferError::Unimplemented { what });
            }
            images.push(metadata.image(caller, &reference.name).await?);
        }
        Ok(images)
    }
}

/// Makes an image of this name, or lets it name the target from now on.
///
/// # Errors
/// [`TransferError::Meta`].
pub async fn save(
    metadata: &Metadata,
    caller: &Caller,
    (name, labels): (String, Labels),
    target: Target,
) -> Result<Image, TransferError> {
    let image = NewImage {
        name,
        labels,
        target: Some(target),
    };
    let mut tries = 0;
    loop {
        match metadata.create_image(caller, image.clone(), None).await {
            Err(Error::AlreadyExists { .. }) => {}
            done => return Ok(done?),
        }
        tries += 1;
        match metadata.update_image(caller, image.clone(), &[], None).await {
            // Somebody removed it just now.
            Err(Error::NotFound { .. }) if tries < limits::SAVE_TRIES => {}
            done => return Ok(done?),
        }
    }
}

/// A descriptor as an image's target.
#[must_use]
pub fn target(descriptor: &Descriptor) -> Target {
    Target {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        annotations: descriptor.annotations.clone(),
    }
}

/// An image's target as a descriptor.
///
/// # Errors
/// [`TransferError::Document`] if its digest is none that is supported here.
pub fn descriptor(image: &Image) -> Result<Descriptor, TransferError> {
    let target = &image.target;
    let digest = target.digest.parse().map_err(|error| TransferError::Document {
        document: format!("image {:?}", image.name),
        problem: format!("{error}"),
    })?;
    let size = u64::try_from(target.size).unwrap_or_default();
    let mut descriptor = Descriptor::new(target.media_type.clone(), digest, size);
    descriptor.annotations = target.annotations.clone();
    Ok(descriptor)
}
