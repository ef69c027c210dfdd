//! From images to an archive: an OCI layout in a tar, readable by docker too, the same bytes each time.
//!
//! Read in this order: `plan` (which blobs, found before the first byte is sent), `listing` (the documents that name
//! them), `tar` (headers), `write` (it all, in order).

mod listing;
mod plan;
mod tar;
mod write;

use transom_meta::{Caller, Metadata, leases};
use transom_oci::{Descriptor, Platform};

use crate::bytes::ByteSink;
use crate::error::TransferError;
use crate::image_store::{self, ImageStore, Platforms};
use crate::lease::Hold;
use crate::progress::{EXPORTED, EXPORTING, Progress, ProgressSink};
use crate::reference::{self, IMAGE_NAME, REF_NAME};

use plan::Plan;

/// What of the images is exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// The platforms that count; with none the one that this program runs on, and no other that it could run too.
    pub platforms: Platforms,
    /// Everything for all platforms. What is missing is an error.
    pub all_platforms: bool,
    /// Leave docker's `manifest.json` out.
    pub skip_docker: bool,
    /// Leave layers out that must not be handed on.
    pub skip_nondistributable: bool,
    /// Leave out what is missing: manifests, and all blobs of a manifest of which one is missing.
    pub skip_missing: bool,
}

impl ExportOptions {
    /// How well something for a platform serves; lower is better.
    fn rank(&self, platform: &Platform) -> Option<usize> {
        if self.platforms.0.is_empty() {
            let same = Platform::host() == platform.clone().normalised();
            return same.then_some(0);
        }
        self.platforms.rank(platform)
    }
}

/// See [`Transfers::export`](crate::Transfers::export).
pub(crate) async fn export(
    metadata: &Metadata,
    caller: &Caller,
    images: &ImageStore,
    options: &ExportOptions,
    archive: &mut dyn ByteSink,
    progress: &dyn ProgressSink,
) -> Result<(), TransferError> {
    let hold = Hold::begin(metadata, caller).await?;
    progress.tell(Progress::of_all(EXPORTING));
    let mut targets = Vec::new();
    for image in images.look_up(metadata, hold.caller()).await? {
        let mut target = image_store::descriptor(&image)?;
        keep(metadata, hold.caller(), &target).await?;
        name(&mut target, &image.name);
        targets.push(target);
    }
    if targets.is_empty() {
        return Err(TransferError::Invalid {
            what: "no image to export: name at least one".to_owned(),
        });
    }
    let plan = Plan::make(metadata, hold.caller(), targets, options).await?;
    write::write(metadata, hold.caller(), &plan, archive, progress).await?;
    hold.end().await?;
    progress.tell(Progress::of_all(EXPORTED));
    Ok(())
}

/// The image may be deleted while it is exported.
async fn keep(metadata: &Metadata, caller: &Caller, target: &Descriptor) -> Result<(), TransferError> {
    if let Some(lease) = &caller.lease {
        let digest = target.digest.as_str();
        metadata
            .add_resource(&caller.namespace, lease, leases::CONTENT, digest)
            .await?;
    }
    Ok(())
}

fn name(target: &mut Descriptor, name: &str) {
    let tag = reference::tag_of(name).to_owned();
    target.annotations.insert(IMAGE_NAME.to_owned(), name.to_owned());
    target.annotations.insert(REF_NAME.to_owned(), tag);
}
