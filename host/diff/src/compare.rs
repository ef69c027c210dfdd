//! Two sets of mounts as a layer.
use crate::blobs::Blobs;
use crate::walking::Walking;
use crate::{CompareRequest, DiffError};
use transom_oci::Descriptor;

pub(crate) fn compare(
    _: &Walking,
    _: &dyn Blobs,
    request: &CompareRequest<'_>,
) -> Result<Descriptor, DiffError> {
    Err(DiffError::NotImplemented {
        what: format!("unsupported diff media type: {}", request.media_type),
    })
}
