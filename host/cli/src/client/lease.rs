//! Leases that commands make for themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use transom_api::leases::{CreateRequest, DeleteRequest, Lease};

use super::{Client, time};
use crate::failure::Failure;

/// The label that says when a lease ends by itself.
pub(crate) const EXPIRE: &str = "containerd.io/gc.expire";

impl Client {
    /// Makes a lease that ends by itself after some time; never if that is zero. With an empty id the daemon makes one up.
    pub(crate) async fn create_lease(
        &self,
        id: &str,
        expires: Duration,
        mut labels: BTreeMap<String, String>,
    ) -> Result<Lease, Failure> {
        if !expires.is_zero() {
            let end =
                time::after(expires).ok_or_else(|| Failure::usage("the lease would outlive the calendar"))?;
            labels.insert(EXPIRE.to_owned(), end);
        }
        let request = CreateRequest {
            id: id.to_owned(),
            labels,
        };
        let response = self.leases().create(request).await?.into_inner();
        response.lease.ok_or_else(|| Failure::silent("the lease"))
    }

    /// Removes a lease; with `sync` what only it kept is collected before this returns.
    pub(crate) async fn delete_lease(&self, id: &str, sync: bool) -> Result<(), Failure> {
        let id = id.to_owned();
        self.leases().delete(DeleteRequest { id, sync }).await?;
        Ok(())
    }

    /// Collects garbage, and waits until it is done. Neither daemon has a request for it, but the removal of a lease can wait
    /// for one.
    pub(crate) async fn collect(&self) -> Result<(), Failure> {
        let lease = self
            .create_lease("", crate::limits::GC_LEASE, BTreeMap::new())
            .await?;
        self.delete_lease(&lease.id, true).await
    }
}
