//! Encrypted images whose files somebody has unpacked already: before a snapshot of them is handed out, their processors are
//! asked (`docs/decisions/0009-encrypted-images.md`).

use tonic::Status;
use transom_meta::{Caller, Labels, Metadata};
use transom_transfer::unpack::{UnpackError, Unpacker};

use crate::status;

/// The label that names the snapshot which a new one is to become.
pub const REF: &str = "containerd.io/snapshot.ref";

/// The labels of a request that name the image on whose behalf it is made: ours, and that of Kubernetes' clients.
pub const IMAGE: [&str; 2] = ["transom.io/image", "containerd.io/snapshot/cri.image-ref"];

/// Asks the processors of encrypted images.
#[derive(Clone, Debug)]
pub struct Seals {
    metadata: Metadata,
    unpacker: Unpacker,
}

impl Seals {
    /// Asks those that the unpacker uses.
    #[must_use]
    pub fn new(metadata: Metadata, unpacker: Unpacker) -> Seals {
        Seals { metadata, unpacker }
    }

    /// Whether a committed snapshot may be handed out on behalf of the images that the labels name; if none of them leads to
    /// it, on behalf of any that does.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` with the image, the layer, the processor and its reason.
    pub async fn ask(&self, caller: &Caller, labels: &Labels, snapshot: &str) -> Result<(), Status> {
        if snapshot.is_empty() {
            return Ok(());
        }
        let refused = |error: UnpackError| status::said(error.class(), error.to_string());
        let (unpacker, metadata) = (&self.unpacker, &self.metadata);
        let mut leads = false;
        for image in IMAGE.iter().filter_map(|label| labels.get(*label)) {
            let asked = unpacker.authorize_snapshot(metadata, caller, image, snapshot);
            leads |= asked.await.map_err(refused)?;
        }
        if !leads {
            let asked = unpacker.authorize_unnamed(metadata, caller, snapshot);
            asked.await.map_err(refused)?;
        }
        Ok(())
    }
}
