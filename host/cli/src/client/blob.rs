//! Blobs of a daemon: their records and their bytes.

use bytes::{Bytes, BytesMut};
use transom_api::content::{Info, InfoRequest, ListContentRequest, ReadContentRequest, UpdateRequest};
use transom_oci::{Digest, Hasher};

use super::Client;
use crate::failure::{Failure, Kind};

/// What became of a blob that was read for its digest.
#[derive(Debug)]
pub(crate) enum Flow {
    /// All of it was passed on.
    Done,
    /// Who it was passed on to wants no more.
    Enough,
}

impl Client {
    /// The record of a blob.
    pub(crate) async fn info(&self, digest: &Digest) -> Result<Info, Failure> {
        let request = InfoRequest {
            digest: digest.to_string(),
        };
        let response = self.content().info(request).await?.into_inner();
        response.info.ok_or_else(|| Failure::silent("the blob's record"))
    }

    /// All records that one of the filters matches, in the daemon's order.
    pub(crate) async fn list(
        &self,
        filters: Vec<String>,
        mut each: impl AsyncFnMut(Info) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut pages = self
            .content()
            .list(ListContentRequest { filters })
            .await?
            .into_inner();
        while let Some(page) = pages.message().await? {
            for info in page.info {
                each(info).await?;
            }
        }
        Ok(())
    }

    /// Sets labels; those with an empty value are removed. Gives the record as it is then.
    pub(crate) async fn label(&self, digest: &Digest, labels: super::Labels) -> Result<Info, Failure> {
        let request = UpdateRequest {
            info: Some(Info {
                digest: digest.to_string(),
                labels: labels.values,
                ..Info::default()
            }),
            update_mask: Some(labels.mask),
        };
        let response = self.content().update(request).await?.into_inner();
        response.info.ok_or_else(|| Failure::silent("the blob's record"))
    }

    /// Passes the bytes of a blob on as they come; with `verify` they must be the digest's. `Ok(false)` from `each` ends it.
    pub(crate) async fn read(
        &self,
        digest: &Digest,
        verify: bool,
        mut each: impl FnMut(&Bytes) -> Result<bool, Failure>,
    ) -> Result<Flow, Failure> {
        let request = ReadContentRequest {
            digest: digest.to_string(),
            offset: 0,
            size: 0,
        };
        let mut hasher = verify.then(|| Hasher::new(digest.algorithm()));
        let mut pieces = self.content().read(request).await?.into_inner();
        while let Some(piece) = pieces.message().await? {
            if let Some(hasher) = &mut hasher {
                hasher.update(&piece.data);
            }
            if !each(&piece.data)? {
                return Ok(Flow::Enough);
            }
        }
        match hasher.map(Hasher::finish) {
            Some(found) if found != *digest => {
                let message =
                    format!("content {digest}: its bytes have digest {found}; remove it and fetch it again");
                Err(Failure::new(Kind::Damaged, message))
            }
            _ => Ok(Flow::Done),
        }
    }

    /// All bytes of a small blob, which are the digest's.
    pub(crate) async fn document(&self, digest: &Digest, limit: u64) -> Result<Bytes, Failure> {
        let mut document = BytesMut::new();
        self.read(digest, true, |piece| {
            if (document.len() + piece.len()) as u64 > limit {
                let message = format!(
                    "content {digest}: it is larger than the {limit} bytes that are read of its type"
                );
                return Err(Failure::new(Kind::Limit, message));
            }
            document.extend_from_slice(piece);
            Ok(true)
        })
        .await?;
        Ok(document.freeze())
    }
}
