//! What keeps the content of a transfer until images do: the caller's lease, or one of its own that goes with it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use transom_content::timestamp;
use transom_meta::{Caller, Error, Labels, Metadata, leases};

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

/// What a lease has is kept for some time, should this be dropped before [`end`](Lingering::end).
#[derive(Debug)]
pub struct Lingering {
    /// None if there is nothing to be done.
    hold: Option<Hold>,
    time: Duration,
}

impl Hold {
    /// Lets what the lease has outlive it, if it is one that ends with this: unless the work comes to its good end.
    #[must_use]
    pub fn lingering(&self, time: Duration) -> Lingering {
        Lingering {
            hold: self.inner.own.then(|| self.clone()),
            time,
        }
    }

    /// Makes a lease that expires, and gives it all that this one has.
    async fn hand_on(&self, time: Duration) -> Result<(), Error> {
        let Inner { metadata, caller, .. } = &*self.inner;
        let (namespace, lease) = (&caller.namespace, caller.lease.as_deref().unwrap_or_default());
        let resources = metadata.resources(namespace, lease).await?;
        let resources = resources.into_iter().filter(|resource| {
            // Snapshots without their image are of no use.
            resource.kind == leases::CONTENT || resource.kind == leases::INGESTS
        });
        let mut resources = resources.peekable();
        if resources.peek().is_none() {
            return Ok(());
        }
        let until = SystemTime::now() + time;
        let expire = ("containerd.io/gc.expire".to_owned(), timestamp::format(until));
        let next = metadata
            .create_lease(namespace, "", Labels::from([expire]))
            .await?;
        for resource in resources {
            metadata
                .add_resource(namespace, &next.id, &resource.kind, &resource.id)
                .await?;
        }
        Ok(())
    }
}

impl Lingering {
    /// All is well, and kept by others.
    pub fn end(mut self) {
        self.hold = None;
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        // Without a runtime the program ends, and the lease stays until it expires.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let time = self.time;
        runtime.spawn(async move {
            if let Err(error) = hold.hand_on(time).await {
                tracing::warn!(%error, "what a failed pull has fetched may be collected");
            }
        });
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
