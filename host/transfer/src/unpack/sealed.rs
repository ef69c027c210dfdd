//! Encrypted layers that others have unpacked: whoever wants them must be able to read them.
//!
//! A snapshot is named by what is in it, and so the same for an encrypted image and its plain twin. Whoever has only the
//! encrypted one must not get at the twin's snapshot without the key.

use transom_layer::cancel::Cancel;
use transom_layer::native::needs_processor;
use transom_meta::images::Image;
use transom_meta::{Caller, Class, Metadata};
use transom_oci::manifest::chain_ids;
use transom_oci::{Descriptor, Digest, media_type};

use super::parts::Sealed;
use super::{UnpackError, Unpackable, Unpacker};
use crate::children::children;
use crate::document::{self, Config};
use crate::error::TransferError;
use crate::limits;

impl Unpacker {
    /// Lets a layer of an image be used that is unpacked already. The caller has a permit.
    pub(super) async fn allow(&self, image: &str, layer: Sealed<'_>) -> Result<(), UnpackError> {
        let (digest, media_type) = (
            layer.descriptor.digest.clone(),
            layer.descriptor.media_type.clone(),
        );
        match self.authorizer.authorize(layer).await {
            Ok(()) => Ok(()),
            Err(source) if source.class == Class::Aborted => Err(UnpackError::Stopped),
            Err(source) => Err(UnpackError::Refused {
                image: image.to_owned(),
                layer: digest,
                media_type,
                source,
            }),
        }
    }

    /// Lets a snapshot be used on behalf of an image. If its layers lead to this snapshot, those of them that only a
    /// processor can read must be readable. An image that is not there, or does not lead to the snapshot, says nothing.
    ///
    /// # Errors
    /// [`UnpackError::Refused`]; [`UnpackError::Document`], also if the image has more than [`limits::MANIFESTS`];
    /// [`UnpackError::Meta`].
    pub async fn authorize_snapshot(
        &self,
        metadata: &Metadata,
        caller: &Caller,
        image: &str,
        snapshot: &str,
    ) -> Result<(), UnpackError> {
        let found = match metadata.image(caller, image).await {
            Ok(found) => found,
            Err(error) if error.class() == Class::NotFound => return Ok(()),
            Err(error) => return Err(Box::new(error).into()),
        };
        let Some(root) = target(&found) else { return Ok(()) };
        for manifest in manifests(metadata, caller, root).await? {
            let Some((layers, diff_ids)) = leading_to(metadata, caller, &manifest, snapshot).await? else {
                continue;
            };
            for (descriptor, diff_id) in layers.iter().zip(&diff_ids) {
                if needs_processor(&descriptor.media_type) {
                    let layer = Sealed {
                        caller,
                        descriptor,
                        diff_id,
                        cancel: &Cancel::new(),
                    };
                    // Nobody closes it.
                    let permit = self.permits.acquire().await;
                    let _permit = permit.map_err(|_| UnpackError::Stopped)?;
                    self.allow(image, layer).await?;
                }
            }
        }
        Ok(())
    }
}

fn target(image: &Image) -> Option<Descriptor> {
    let digest = image.target.digest.parse().ok()?;
    let size = u64::try_from(image.target.size).ok()?;
    Some(Descriptor::new(image.target.media_type.clone(), digest, size))
}

/// The manifests of an image that are there and have a layer that only a processor can read.
async fn manifests(
    metadata: &Metadata,
    caller: &Caller,
    root: Descriptor,
) -> Result<Vec<Unpackable>, UnpackError> {
    let (mut open, mut found, mut seen) = (vec![root], Vec::new(), 0);
    while let Some(next) = open.pop() {
        let listed = match children(metadata, caller, &next).await {
            Ok(listed) => listed,
            // That of a platform that was not wanted.
            Err(error) if error.class() == Class::NotFound => continue,
            Err(error) => return Err(Box::new(error).into()),
        };
        seen += 1;
        if seen > limits::MANIFESTS {
            let error = TransferError::Limit {
                what: "the manifests of an image".to_owned(),
                limit: limits::MANIFESTS as u64,
            };
            return Err(Box::new(error).into());
        }
        if media_type::is_index(&next.media_type) {
            open.extend(listed);
        } else if let Some(image) = Unpackable::of(&next, &listed) {
            let sealed = image
                .layers
                .iter()
                .any(|layer| needs_processor(&layer.media_type));
            found.extend(sealed.then_some(image));
        }
    }
    Ok(found)
}

/// The layers that a snapshot is made of, lowest first, if it is one of this image.
async fn leading_to(
    metadata: &Metadata,
    caller: &Caller,
    image: &Unpackable,
    snapshot: &str,
) -> Result<Option<(Vec<Descriptor>, Vec<Digest>)>, UnpackError> {
    let config = document::load(metadata, caller, &image.config).await;
    let config = config.map_err(Box::new)?;
    let config: Config = document::json(&config, image.config.digest.as_str()).map_err(Box::new)?;
    let diff_ids = config.diff_ids().unwrap_or_default();
    let chain = chain_ids(diff_ids);
    let top = chain.iter().position(|chain_id| chain_id.as_str() == snapshot);
    Ok(top.map(|top| {
        let layers = image.layers.iter().take(top + 1).cloned().collect();
        (layers, diff_ids[..=top].to_vec())
    }))
}
