//! Which snapshots an image leads to, and by which layers.

use transom_layer::native::needs_processor;
use transom_meta::images::Image;
use transom_meta::{Caller, Class, Metadata};
use transom_oci::manifest::chain_ids;
use transom_oci::{Descriptor, Digest, media_type};

use super::{UnpackError, Unpackable};
use crate::children::children;
use crate::document::{self, Config};
use crate::error::TransferError;
use crate::limits;

/// What is behind an image: one for each platform that is there.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Those with a layer that only a processor can read.
    pub(super) sealed: Vec<Rootfs>,
    /// Those without.
    pub(super) plain: Vec<Unpackable>,
    /// Documents that are not there, as those of platforms that were not wanted.
    pub(super) missing: Vec<Digest>,
}

/// The layers of one platform and what they become.
#[derive(Debug)]
pub(super) struct Rootfs {
    layers: Vec<(Descriptor, Digest)>,
    chain: Vec<Digest>,
}

impl Rootfs {
    /// Reads the configuration of an image; none if it is not there.
    pub(super) async fn of(
        metadata: &Metadata,
        caller: &Caller,
        image: &Unpackable,
    ) -> Result<Option<Rootfs>, UnpackError> {
        let config = match document::load(metadata, caller, &image.config).await {
            Ok(config) => config,
            Err(error) if error.class() == Class::NotFound => return Ok(None),
            Err(error) => return Err(Box::new(error).into()),
        };
        let config: Config = document::json(&config, image.config.digest.as_str()).map_err(Box::new)?;
        let diff_ids = config.diff_ids().unwrap_or_default();
        let layers = image.layers.iter().cloned().zip(diff_ids.iter().cloned());
        Ok(Some(Rootfs {
            layers: layers.collect(),
            chain: chain_ids(diff_ids),
        }))
    }

    /// The layers that a snapshot is made of with their diffIDs, lowest first, if it is one of this image.
    pub(super) fn leading_to(&self, snapshot: &str) -> Option<&[(Descriptor, Digest)]> {
        let top = self
            .chain
            .iter()
            .position(|chain_id| chain_id.as_str() == snapshot)?;
        self.layers.get(..=top)
    }
}

/// The layers among these that only a processor can read.
pub(super) fn sealed(layers: &[(Descriptor, Digest)]) -> impl Iterator<Item = &(Descriptor, Digest)> {
    layers
        .iter()
        .filter(|(layer, _)| needs_processor(&layer.media_type))
}

/// Looks at all that an image names.
///
/// # Errors
/// [`UnpackError::Document`], also if there are more than [`limits::MANIFESTS`] manifests and indexes; [`UnpackError::Meta`].
pub(super) async fn look(metadata: &Metadata, caller: &Caller, image: &Image) -> Result<Looked, UnpackError> {
    let mut looked = Looked::default();
    let mut open: Vec<Descriptor> = target(image).into_iter().collect();
    let mut seen = 0;
    while let Some(next) = open.pop() {
        seen += 1;
        if seen > limits::MANIFESTS {
            let error = TransferError::Limit {
                what: "the manifests of an image".to_owned(),
                limit: limits::MANIFESTS as u64,
            };
            return Err(Box::new(error).into());
        }
        let listed = match children(metadata, caller, &next).await {
            Ok(listed) => listed,
            Err(error) if error.class() == Class::NotFound => {
                looked.missing.push(next.digest);
                continue;
            }
            Err(error) => return Err(Box::new(error).into()),
        };
        if media_type::is_index(&next.media_type) {
            open.extend(listed);
        } else if let Some(image) = Unpackable::of(&next, &listed) {
            looked.add(metadata, caller, image).await?;
        }
    }
    Ok(looked)
}

impl Looked {
    async fn add(
        &mut self,
        metadata: &Metadata,
        caller: &Caller,
        image: Unpackable,
    ) -> Result<(), UnpackError> {
        if !image
            .layers
            .iter()
            .any(|layer| needs_processor(&layer.media_type))
        {
            self.plain.push(image);
            return Ok(());
        }
        match Rootfs::of(metadata, caller, &image).await? {
            Some(rootfs) => self.sealed.push(rootfs),
            None => self.missing.push(image.config.digest),
        }
        Ok(())
    }
}

fn target(image: &Image) -> Option<Descriptor> {
    let digest = image.target.digest.parse().ok()?;
    let size = u64::try_from(image.target.size).ok()?;
    Some(Descriptor::new(image.target.media_type.clone(), digest, size))
}
