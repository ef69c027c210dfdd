//! What keeps the content of a transfer until images do: the caller's lease, or one of its own that goes with it.

use std::sync::Arc;
use std::time::SystemTime;

use transom_content::timestamp;
use transom_meta::{Caller, Error, Labels, Metadata};

use crate::error::TransferError;
use crate::limits;

/// A lease for as long as somebody holds this. Clones hold the same one.
#[derive(Clone, Debug)]
pub struct Hold {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metadata: Metadata,
    caller: Caller,
    /// Whether it is deleted in the end.
    own: bool,
}

impl Hold {
    /// The caller's lease; if it has none, one that ends with this.
    ///
    /// # Errors
    /// [`TransferError::Meta`].
    pub async fn begin(metadata: &Metadata, caller: &Caller) -> Result<Hold, TransferError> {
        let mut caller = caller.clone();
        let own = caller.lease.is_none();
        if own {
            let until = SystemTime::now() + limits::LEASE;
            let expire = ("containerd.io/gc.expire".to_owned(), timestamp::format(until));
            let labels = Labels::from([expire]);
            let lease = metadata.create_lease(&caller.namespace, "", labels).await?;
            caller.lease = Some(lease.id);
        }
        let metadata = metadata.clone();
        Ok(Hold {
            inner: Arc::new(Inner {
                metadata,
                caller,
                own,
            }),
        })
    }

    /// The caller, with the lease.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(lease) = self.caller.lease.clone().filter(|_| self.own) else {
            return;
        };
        // Without a runtime the program ends, and the lease expires.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (metadata, namespace) = (self.metadata.clone(), self.caller.namespace.clone());
        runtime.spawn(async move {
            match metadata.delete_lease(&namespace, &lease).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(%error, lease, "the lease of a transfer stays until it expires"),
            }
        });
    }
}

impl Hold {
    /// Ends it now rather than some time after the last clone has gone, if this is the last one.
    ///
    /// # Errors
    /// [`TransferError::Meta`].
    pub async fn end(self) -> Result<(), TransferError> {
        let Ok(mut inner) = Arc::try_unwrap(self.inner) else {
            return Ok(());
        };
        let Some(lease) = inner.caller.lease.clone().filter(|_| inner.own) else {
            return Ok(());
        };
        let deleted = inner.metadata.delete_lease(&inner.caller.namespace, &lease).await;
        // Only now: whoever is dropped while it waits still has it deleted.
        inner.own = false;
        match deleted {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
