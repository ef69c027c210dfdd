//! A daemon's plugins: an artifact handed over, then taken into use.

use std::collections::BTreeMap;

use bytes::Bytes;
use transom_api::plugins::{InstallRequest, InstallResponse};
use transom_oci::Descriptor;

use super::Client;
use super::stream::unique;
use super::upload::{Opened, Wanted};
use crate::failure::Failure;
use crate::limits;

/// The namespace in which a daemon keeps what is installed.
pub(crate) const NAMESPACE: &str = "plugins.transom";

/// What is to be installed: its blobs, and the digests of manifests among them.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) blobs: Vec<(Descriptor, Bytes)>,
    pub(crate) manifest: String,
    pub(crate) signatures: Vec<String>,
    pub(crate) source: String,
}

impl Client {
    /// Hands an artifact over, under a lease that keeps it until the daemon does, and has it installed.
    pub(crate) async fn install_plugin(&self, handover: Handover) -> Result<InstallResponse, Failure> {
        let lease = unique("plugin");
        self.create_lease(&lease, limits::INSTALL_LEASE, BTreeMap::new())
            .await?;
        let done = self.leased(&lease)?.hand_over(handover).await;
        let released = self.delete_lease(&lease, false).await;
        let done = done?;
        released?;
        Ok(done)
    }

    async fn hand_over(&self, handover: Handover) -> Result<InstallResponse, Failure> {
        for (descriptor, bytes) in handover.blobs {
            let wanted = Wanted {
                reference: transom_client::ingest_ref(&descriptor),
                total: Some(descriptor.size),
                expected: Some(descriptor.digest.to_string()),
                labels: BTreeMap::new(),
            };
            let Opened::Writer(mut writer) = self.upload(&wanted).await? else {
                continue;
            };
            let left = usize::try_from(writer.offset()).unwrap_or(usize::MAX);
            let mut rest = bytes.slice(left.min(bytes.len())..);
            while !rest.is_empty() {
                writer.write(rest.split_to(rest.len().min(limits::BLOCK))).await?;
            }
            writer.commit().await?;
        }
        let request = InstallRequest {
            manifest: handover.manifest,
            source: handover.source,
            signatures: handover.signatures,
        };
        Ok(self.plugins().install(request).await?.into_inner())
    }
}
