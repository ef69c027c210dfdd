//! Deleting. Registries may be told not to: then the error is [`Error::Unsupported`].

use http::{Method, StatusCode};
use transom_oci::Digest;

use super::manifest::parse_target;
use super::remote::Remote;
use crate::Error;
use crate::auth::scope::Scopes;
use crate::transport::Call;

impl Remote {
    /// Deletes a tag, or a manifest (by its digest) with all its tags. Older registries know only the latter.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unsupported`] and the others of the registry.
    pub async fn delete_manifest(&self, target: &str) -> Result<(), Error> {
        parse_target(target)?;
        self.delete(&format!("manifests/{target}"), self.named(target))
            .await
    }

    /// Deletes a blob from this repository.
    ///
    /// # Errors
    /// As [`delete_manifest`](Remote::delete_manifest).
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), Error> {
        let what = format!("blob {digest} of {}", self.repository());
        self.delete(&format!("blobs/{digest}"), what).await
    }

    async fn delete(&self, path: &str, what: String) -> Result<(), Error> {
        let endpoint = self.target()?;
        let url = self.url(&endpoint, path, &[]).await?;
        let scopes = Scopes::delete(self.repository());
        let call = Call::new(Method::DELETE, url, scopes, format!("deleting {what}"));
        let done = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT];
        endpoint.send(&call, &done).await.map(drop)
    }
}
