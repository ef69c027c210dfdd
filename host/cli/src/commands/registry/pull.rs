//! An image from a registry for `transom unpack`: into a layout folder that is gone afterwards.

use std::sync::Arc;

use tempfile::TempDir;
use transom_client::Reference;
use transom_client::images::Observer;
use transom_oci::Platform;

use super::copy::Shown;
use super::layout::Layout;
use super::{blocking, settings};
use crate::arguments::{Progress, Registries};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::places;

/// How an image of a registry begins.
const TRANSPORT: &str = "docker://";

/// Whether this names an image of a registry.
pub(crate) fn is_remote(image: &std::ffi::OsStr) -> bool {
    image.to_str().is_some_and(|text| text.starts_with(TRANSPORT))
}

/// Fetches the image for a platform, and nothing of the others.
pub(crate) fn fetch(
    image: &str,
    platform: Option<&Platform>,
    flags: &Registries,
    progress: Progress,
    interrupt: &Interrupt,
) -> Result<TempDir, Failure> {
    let name: Reference = image.parse()?;
    let place = places::temporary();
    let folder = tempfile::Builder::new()
        .prefix("transom-")
        .tempdir_in(&place)
        .map_err(|error| Failure::io(place.display(), &error))?;
    let layout = Layout::open(folder.path())?;
    let shown = Shown::new(progress);
    blocking(interrupt, async {
        let remote = settings::client(flags, name.repository.registry())?.remote(&name.repository)?;
        let found = remote.resolve(&name.target()).await?;
        let host = Platform::host();
        let one = remote.for_platform(found, platform.unwrap_or(&host)).await?;
        let observer: Arc<dyn Observer> = shown;
        remote.fetch_image(&one, &layout.store, &observer).await?;
        layout.list(one, Some(&name.with_default_tag().to_string()))
    })?;
    Ok(folder)
}
