//! A further name for an image.

use transom_meta::images::Image;
use transom_meta::{Caller, Metadata};
use transom_oci::Descriptor;

use crate::error::TransferError;
use crate::image_store::{self, ImageStore};
use crate::lease::Hold;

/// Saves what `from` names under the names of `to`, also where they named something else; gives what was saved.
///
/// # Errors
/// [`TransferError::Meta`] if there is no such image, [`TransferError::NotFound`] if `to` gives no name.
pub async fn tag(
    metadata: &Metadata,
    caller: &Caller,
    from: &ImageStore,
    to: &ImageStore,
) -> Result<Vec<Image>, TransferError> {
    to.check()?;
    let hold = Hold::begin(metadata, caller).await?;
    let image = metadata.image(hold.caller(), &from.name).await?;
    let target: Descriptor = image_store::descriptor(&image)?;
    let names = to.names_of_whole(&target);
    if names.is_empty() {
        return Err(TransferError::NotFound {
            object: "no image name found".to_owned(),
        });
    }
    let mut saved = Vec::new();
    for name in names {
        saved.push(image_store::save(metadata, hold.caller(), name, image.target.clone()).await?);
    }
    hold.end().await?;
    Ok(saved)
}
