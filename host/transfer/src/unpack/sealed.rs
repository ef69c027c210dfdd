//! Encrypted layers that others have unpacked: whoever wants them must be able to read them.
//!
//! A snapshot is named by what is in it, and so the same for an encrypted image and its plain twin. Whoever has only the
//! encrypted one must not get at the twin's snapshot without the key.

use transom_layer::cancel::Cancel;
use transom_meta::{Caller, Class, Metadata};
use transom_oci::{Descriptor, Digest};

use super::leading::{Rootfs, look, sealed};
use super::parts::Sealed;
use super::{UnpackError, Unpackable, Unpacker};

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

    /// Lets a snapshot be used on behalf of an image: if its layers lead to this snapshot, those of them that only a processor
    /// can read must be readable. Answers whether they lead there; an image that is not there leads nowhere.
    ///
    /// # Errors
    /// [`UnpackError::Refused`]; [`UnpackError::Document`], also if the image has more than [`crate::limits::MANIFESTS`];
    /// [`UnpackError::Meta`].
    pub async fn authorize_snapshot(
        &self,
        metadata: &Metadata,
        caller: &Caller,
        image: &str,
        snapshot: &str,
    ) -> Result<bool, UnpackError> {
        let found = match metadata.image(caller, image).await {
            Ok(found) => found,
            Err(error) if error.class() == Class::NotFound => return Ok(false),
            Err(error) => return Err(Box::new(error).into()),
        };
        let looked = look(metadata, caller, &found).await?;
        let mut leads = false;
        for rootfs in &looked.sealed {
            if let Some(layers) = rootfs.leading_to(snapshot) {
                self.allow_all(caller, image, layers).await?;
                leads = true;
            }
        }
        Ok(leads
            || is_plain(
                metadata,
                caller,
                &looked.plain.iter().collect::<Vec<_>>(),
                snapshot,
            )
            .await)
    }

    /// Lets a snapshot be used by whoever names no image that leads to it. If images of the namespace lead to it, and all of them by layers that
    /// only a processor can read, those of one of them must be readable.
    ///
    /// # Errors
    /// [`UnpackError::Refused`] of the last image that was tried, [`UnpackError::Meta`], [`UnpackError::Document`].
    pub async fn authorize_unnamed(
        &self,
        metadata: &Metadata,
        caller: &Caller,
        snapshot: &str,
    ) -> Result<(), UnpackError> {
        let images = self.twins.of(metadata, caller).await?;
        let mut to_ask = Vec::new();
        for known in images.iter() {
            let leading = known.looked.sealed.iter();
            for layers in leading.filter_map(|rootfs| rootfs.leading_to(snapshot)) {
                if sealed(layers).next().is_none() {
                    return Ok(());
                }
                to_ask.push((&known.name, layers));
            }
        }
        if to_ask.is_empty() || is_plain(metadata, caller, &images.plain(), snapshot).await {
            return Ok(());
        }
        let mut answer = Ok(());
        for (image, layers) in to_ask {
            answer = self.allow_all(caller, image, layers).await;
            if !matches!(answer, Err(UnpackError::Refused { .. })) {
                return answer;
            }
        }
        answer
    }

    async fn allow_all(
        &self,
        caller: &Caller,
        image: &str,
        layers: &[(Descriptor, Digest)],
    ) -> Result<(), UnpackError> {
        for (descriptor, diff_id) in sealed(layers) {
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
        Ok(())
    }
}

/// Whether one of these images leads to the snapshot. One that cannot be read leads nowhere.
async fn is_plain(metadata: &Metadata, caller: &Caller, images: &[&Unpackable], snapshot: &str) -> bool {
    for image in images {
        let rootfs = Rootfs::of(metadata, caller, image).await.ok().flatten();
        if rootfs.is_some_and(|rootfs| rootfs.leading_to(snapshot).is_some()) {
            return true;
        }
    }
    false
}
