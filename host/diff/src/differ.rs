//! What a differ does, and several of them in order.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use transom_layer::apply::ApplyReport;
use transom_layer::cancel::Cancel;
use transom_layer::pump::LayerReport;
use transom_layer::stage::Payload;
use transom_oci::{Descriptor, Digest};
use transom_sys::Mount;

use crate::DiffError;
use crate::blobs::{Blobs, Labels};

/// Applies layers to mounts, and compares mounts. Its calls block until the work is done or cancelled; when they return, no
/// mount, process or thread of theirs is left at work.
pub trait Differ: Send + Sync {
    /// Its name, by which a configuration puts differs in order.
    fn name(&self) -> &str;

    /// Applies a layer to mounts.
    ///
    /// # Errors
    /// [`DiffError::NotImplemented`] asks for the next differ; any other error is final. What was written to the mounts
    /// before an error stays there: whoever made them removes them.
    fn apply(&self, blobs: &dyn Blobs, request: &ApplyRequest<'_>) -> Result<Applied, DiffError>;

    /// Finds out whether [`apply`](Differ::apply) could read a layer that need not be applied, because what it would become
    /// is there already: what only a processor reads, such as an encrypted layer, must not be had without it. A layer
    /// that what is built in can read is let through without a look at its blob.
    ///
    /// # Errors
    /// As [`apply`](Differ::apply); [`DiffError::Unread`], [`DiffError::Denied`], [`DiffError::OtherTar`].
    fn authorize(&self, blobs: &dyn Blobs, request: &AuthorizeRequest<'_>) -> Result<(), DiffError>;

    /// Writes the changes that lead from one set of mounts to another as a layer.
    ///
    /// # Errors
    /// As [`apply`](Differ::apply).
    fn compare(&self, blobs: &dyn Blobs, request: &CompareRequest<'_>) -> Result<Descriptor, DiffError>;
}

/// A layer and where it shall go.
#[derive(Debug)]
pub struct ApplyRequest<'a> {
    /// The layer's blob. A size of 0 is one that nobody said.
    pub descriptor: &'a Descriptor,
    /// What is mounted where the layer goes, in the order of mounting.
    pub mounts: &'a [Mount],
    /// Payloads by the name of the processor.
    pub payloads: &'a [(String, Payload)],
    /// Whether the files must outlast a power cut.
    pub sync_fs: bool,
    /// The request to stop.
    pub cancel: &'a Cancel,
    /// Counts the bytes of the blob that were read.
    pub progress: Arc<AtomicU64>,
}

/// A layer that is there already, applied by somebody else.
#[derive(Debug)]
pub struct AuthorizeRequest<'a> {
    /// The layer's blob. A size of 0 is one that nobody said.
    pub descriptor: &'a Descriptor,
    /// The digest of the plain tar that it is said to become.
    pub diff_id: &'a Digest,
    /// Payloads by the name of the processor.
    pub payloads: &'a [(String, Payload)],
    /// The request to stop.
    pub cancel: &'a Cancel,
}

/// What became of a layer.
#[derive(Debug)]
pub struct Applied {
    /// The plain tar: its media type, digest (the diffID) and size. Annotations are what processors asked to record.
    pub descriptor: Descriptor,
    /// What each stage did, if it was done in this process.
    pub report: Option<Box<LayerReport<ApplyReport>>>,
}

/// Two sets of mounts and what to do with their difference.
#[derive(Debug)]
pub struct CompareRequest<'a> {
    /// What is mounted as it was before; nothing for an empty folder.
    pub left: &'a [Mount],
    /// What is mounted as it is now.
    pub right: &'a [Mount],
    /// The media type of the layer; empty for gzip.
    pub media_type: &'a str,
    /// The reference to write under. What an earlier writer left is thrown away. Without one, a new one is made up, and
    /// nothing is left of it when the work fails.
    pub reference: Option<&'a str>,
    /// The labels of the new blob.
    pub labels: &'a Labels,
    /// The latest time that a file may have in the layer.
    pub source_date_epoch: Option<SystemTime>,
    /// The request to stop.
    pub cancel: &'a Cancel,
}

/// Differs in the order in which they are asked.
#[derive(Clone)]
pub struct Differs {
    differs: Arc<[Arc<dyn Differ>]>,
}

impl Differs {
    /// Asks `differs` one after the other.
    #[must_use]
    pub fn new(differs: Vec<Arc<dyn Differ>>) -> Differs {
        Differs {
            differs: differs.into(),
        }
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.differs.iter().map(|differ| differ.name())
    }

    /// Applies a layer with the first differ that can.
    ///
    /// # Errors
    /// That of the first differ that fails otherwise than by [`DiffError::NotImplemented`], or that of the last.
    pub fn apply(&self, blobs: &dyn Blobs, request: &ApplyRequest<'_>) -> Result<Applied, DiffError> {
        self.first(|differ| differ.apply(blobs, request))
    }

    /// Asks the first differ that can read the layer.
    ///
    /// # Errors
    /// As [`apply`](Differs::apply).
    pub fn authorize(&self, blobs: &dyn Blobs, request: &AuthorizeRequest<'_>) -> Result<(), DiffError> {
        self.first(|differ| differ.authorize(blobs, request))
    }

    /// Compares with the first differ that can.
    ///
    /// # Errors
    /// As [`apply`](Differs::apply).
    pub fn compare(&self, blobs: &dyn Blobs, request: &CompareRequest<'_>) -> Result<Descriptor, DiffError> {
        self.first(|differ| differ.compare(blobs, request))
    }

    fn first<T>(&self, ask: impl Fn(&dyn Differ) -> Result<T, DiffError>) -> Result<T, DiffError> {
        let mut refusal = DiffError::NotImplemented {
            what: "no differ is configured".to_owned(),
        };
        for differ in self.differs.iter() {
            match ask(differ.as_ref()) {
                Err(error @ DiffError::NotImplemented { .. }) => refusal = error,
                done => return done,
            }
        }
        Err(refusal)
    }
}

impl fmt::Debug for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
