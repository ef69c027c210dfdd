//! What an unpacker needs of others: somebody who keeps snapshots in namespaces, somebody who applies layers to mounts, and
//! somebody who knows whether a layer could be had that is applied already.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use transom_layer::cancel::Cancel;
use transom_meta::kv::Pending;
use transom_meta::snapshots::Info;
use transom_meta::{Caller, Class, Error, Labels, Metadata};
use transom_oci::{Descriptor, Digest};
use transom_sys::Mount;

use crate::arriving::Arriving;
use crate::artifacts::Made;

/// Snapshots in namespaces, of every snapshotter that there is. The caller's lease keeps what is prepared, committed or found.
pub trait Snapshots: Send + Sync + fmt::Debug + 'static {
    /// What a snapshotter can do; none if it is not there.
    fn capabilities(&self, snapshotter: &str) -> Option<Vec<String>>;

    /// Makes an active snapshot.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the key is taken, or if the label `containerd.io/snapshot.ref` names a committed
    /// snapshot that is there, which the caller's lease then keeps; those of the snapshotter.
    fn prepare<'a>(
        &'a self,
        caller: &'a Caller,
        snapshotter: &'a str,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<Vec<Mount>, Error>>;

    /// Commits an active snapshot; with a `parent` that is not empty it is put onto that one.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the name is taken; those of the snapshotter.
    fn commit<'a>(
        &'a self,
        caller: &'a Caller,
        snapshotter: &'a str,
        name: &'a str,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<(), Error>>;

    /// What is known of a snapshot.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    fn stat<'a>(
        &'a self,
        caller: &'a Caller,
        snapshotter: &'a str,
        key: &'a str,
    ) -> Pending<'a, Result<Info, Error>>;

    /// Removes a snapshot.
    ///
    /// # Errors
    /// [`Error::NotFound`]; those of the snapshotter.
    fn remove<'a>(
        &'a self,
        caller: &'a Caller,
        snapshotter: &'a str,
        key: &'a str,
    ) -> Pending<'a, Result<(), Error>>;
}

/// The snapshots of a daemon's metadata.
impl Snapshots for Metadata {
    fn capabilities(&self, snapshotter: &str) -> Option<Vec<String>> {
        let snapshots = self.snapshots(snapshotter).ok()?;
        Some(snapshots.capabilities())
    }

    fn prepare<'a>(
        &'a self,
        caller: &'a Caller,
        snapshotter: &'a str,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<Vec<Mount>, Error>> {
        Box::pin(async move {
            let snapshots = self.snapshots(snapshotter)?;
            snapshots.prepare(caller, key, parent, labels).await
        })
    }

    fn commit<'a>(
        &'a self,
        caller: &'a Caller,
        snapshotter: &'a str,
        name: &'a str,
        key: &'a str,
        parent: &'a str,
        labels: Labels,
    ) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move {
            let snapshots = self.snapshots(snapshotter)?;
            snapshots.commit(caller, name, key, parent, labels).await
        })
    }

    fn stat<'a>(
        &'a self,
        caller: &'a Caller,
        snapshotter: &'a str,
        key: &'a str,
    ) -> Pending<'a, Result<Info, Error>> {
        Box::pin(async move { self.snapshots(snapshotter)?.stat(caller, key).await })
    }

    fn remove<'a>(
        &'a self,
        caller: &'a Caller,
        snapshotter: &'a str,
        key: &'a str,
    ) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move { self.snapshots(snapshotter)?.remove(caller, key).await })
    }
}

/// A layer to apply.
#[derive(Debug)]
pub struct Layer<'a> {
    /// On whose behalf its blob is read.
    pub caller: &'a Caller,
    /// The layer.
    pub descriptor: &'a Descriptor,
    /// Where to. An overlay without lower folders is the upper folder of a snapshot whose parent is not known yet: whiteouts
    /// are written into it for an overlay.
    pub mounts: &'a [Mount],
    /// Its blob, if that is still arriving: to be read along, not from the store.
    pub along: Option<&'a Arriving>,
    /// The request to stop.
    pub cancel: &'a Cancel,
    /// Told how many bytes of the blob are read.
    pub read: Arc<AtomicU64>,
}

/// A layer that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The digest of the plain tar.
    pub diff_id: Digest,
    /// What processors wrote about it.
    pub made: Vec<Made>,
}

/// Applies layers.
pub trait Applier: Send + Sync + fmt::Debug + 'static {
    /// Applies a layer and says what it became. When this answers, also with an error or after the request to stop, nothing of it
    /// is mounted or written to any more.
    ///
    /// # Errors
    /// [`ApplyError`].
    fn apply<'a>(&'a self, layer: Layer<'a>) -> Pending<'a, Result<Applied, ApplyError>>;
}

/// A layer that is in a snapshot already, and that only a processor can read.
#[derive(Debug)]
pub struct Sealed<'a> {
    /// On whose behalf its blob is read.
    pub caller: &'a Caller,
    /// The layer.
    pub descriptor: &'a Descriptor,
    /// What the configuration says that it becomes.
    pub diff_id: &'a Digest,
    /// The request to stop.
    pub cancel: &'a Cancel,
}

/// Knows whether whoever asks could have a layer unpacked that is unpacked already. Otherwise an encrypted image could be used
/// without its key wherever somebody else has unpacked the same files.
pub trait Authorizer: Send + Sync + fmt::Debug + 'static {
    /// Lets the layer be used. When this answers, or is dropped, nothing of it goes on for long.
    ///
    /// # Errors
    /// [`ApplyError`], which is of the class [`Class::PermissionDenied`] if a processor is missing or refuses.
    fn authorize<'a>(&'a self, layer: Sealed<'a>) -> Pending<'a, Result<(), ApplyError>>;
}

/// Why a layer could not be applied, or may not be used.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct ApplyError {
    /// What a client can do about it.
    pub class: Class,
    /// What happened.
    pub text: String,
}
