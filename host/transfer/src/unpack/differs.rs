//! Differs as appliers and authorizers, with the content of a daemon's metadata.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use transom_diff::blobs::{BlobWriter, Blobs, Fault, Opened};
use transom_diff::{ApplyRequest, AuthorizeRequest, DiffError, Differs};
use transom_layer::cancel::Cancel;
use transom_layer::pump::PumpError;
use transom_layer::stage::StageError;
use transom_meta::kv::Pending;
use transom_meta::{Caller, Class, Error, Metadata};
use transom_oci::Digest;

use super::parts::{Applied, Applier, ApplyError, Authorizer, Layer, Sealed};
use crate::arriving::Arriving;
use crate::artifacts::Made;
use crate::limits;

/// Applies layers with the first differ that can, and asks it about those that are applied already.
#[derive(Clone)]
pub struct DifferApplier {
    differs: Differs,
    metadata: Metadata,
}

impl DifferApplier {
    /// Applies layers of this content.
    #[must_use]
    pub fn new(differs: Differs, metadata: Metadata) -> DifferApplier {
        DifferApplier { differs, metadata }
    }

    fn readable(&self, caller: &Caller, along: Option<(Arriving, Cancel)>) -> Readable {
        Readable {
            metadata: self.metadata.clone(),
            caller: caller.clone(),
            along,
            runtime: Handle::current(),
        }
    }
}

impl fmt::Debug for DifferApplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DifferApplier").finish_non_exhaustive()
    }
}

impl Applier for DifferApplier {
    fn apply<'a>(&'a self, layer: Layer<'a>) -> Pending<'a, Result<Applied, ApplyError>> {
        let (differs, read) = (self.differs.clone(), Arc::clone(&layer.read));
        let along = layer.along.map(|blob| (blob.clone(), layer.cancel.clone()));
        let blobs = self.readable(layer.caller, along);
        let (descriptor, mounts) = (layer.descriptor.clone(), layer.mounts.to_vec());
        let cancel = layer.cancel.clone();
        let work = move || {
            let request = ApplyRequest {
                descriptor: &descriptor,
                mounts: &mounts,
                payloads: &[],
                sync_fs: false,
                cancel: &cancel,
                progress: read,
            };
            differs.apply(&blobs, &request)
        };
        Box::pin(async move {
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(applied)) => Ok(Applied {
                    diff_id: applied.descriptor.digest,
                    made: applied
                        .report
                        .map_or_else(Vec::new, |report| Made::of(&report.stages)),
                }),
                Ok(Err(error)) => Err(failed(&error)),
                Err(error) => Err(ApplyError {
                    class: Class::Unknown,
                    text: format!("internal fault: {error}"),
                }),
            }
        })
    }
}

impl Authorizer for DifferApplier {
    fn authorize<'a>(&'a self, layer: Sealed<'a>) -> Pending<'a, Result<(), ApplyError>> {
        let (differs, blobs) = (self.differs.clone(), self.readable(layer.caller, None));
        let (descriptor, diff_id) = (layer.descriptor.clone(), layer.diff_id.clone());
        let stop = Stop::default();
        let cancel = stop.0.clone();
        let work = move || {
            let request = AuthorizeRequest {
                descriptor: &descriptor,
                diff_id: &diff_id,
                // Neither a transfer nor a request for a snapshot can bring any.
                payloads: &[],
                cancel: &cancel,
            };
            differs.authorize(&blobs, &request)
        };
        Box::pin(async move {
            let passed_on = stop.0.clone();
            let _hook = layer.cancel.on_cancel(move || passed_on.cancel());
            let mut task = tokio::task::spawn_blocking(work);
            let Ok(done) = tokio::time::timeout(limits::AUTHORIZE, &mut task).await else {
                stop.0.cancel();
                // Nothing of it is left when this has answered.
                let _ = task.await;
                return Err(too_slow());
            };
            match done {
                Ok(done) => done.map_err(|error| refused(&error)),
                Err(error) => Err(ApplyError {
                    class: Class::Unknown,
                    text: format!("internal fault: {error}"),
                }),
            }
        })
    }
}

/// Stops the work when its future is dropped.
#[derive(Default)]
struct Stop(Cancel);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn too_slow() -> ApplyError {
    let seconds = limits::AUTHORIZE.as_secs();
    ApplyError {
        class: Class::PermissionDenied,
        text: format!("nothing came out of its processors in {seconds} seconds"),
    }
}

/// Whatever keeps a processor from reading a layer, the layer is not to be had.
fn refused(error: &DiffError) -> ApplyError {
    let class = match error {
        DiffError::Cancelled => Class::Aborted,
        DiffError::Content { source, .. } => source.downcast_ref().map_or(Class::Unknown, Error::class),
        DiffError::Denied { source } => match &**source {
            PumpError::Stage {
                source: StageError::BlobDigest { .. } | StageError::BlobSize { .. },
                ..
            } => Class::DataLoss,
            PumpError::Stage {
                source: StageError::Read(_),
                ..
            }
            | PumpError::Panicked { .. } => Class::Unknown,
            _ => Class::PermissionDenied,
        },
        _ => Class::PermissionDenied,
    };
    ApplyError {
        class,
        text: error.to_string(),
    }
}

fn failed(error: &DiffError) -> ApplyError {
    let class = match error {
        DiffError::NotImplemented { .. } => Class::Unimplemented,
        DiffError::Cancelled => Class::Aborted,
        DiffError::Content { source, .. } => source.downcast_ref().map_or(Class::Unknown, Error::class),
        DiffError::Layer { source, .. } => match &**source {
            PumpError::Stage {
                source: StageError::BlobDigest { .. } | StageError::BlobSize { .. },
                ..
            } => Class::DataLoss,
            PumpError::Stage {
                source: StageError::OutputLimit { .. } | StageError::RatioLimit { .. },
                ..
            } => Class::ResourceExhausted,
            PumpError::Refused { .. } => Class::FailedPrecondition,
            PumpError::Cancelled => Class::Aborted,
            _ => Class::Unknown,
        },
        _ => Class::Unknown,
    };
    ApplyError {
        class,
        text: error.to_string(),
    }
}

/// Content to be read on behalf of one caller; applying writes none.
struct Readable {
    metadata: Metadata,
    caller: Caller,
    /// The one blob that is read, while it arrives; until somebody asks to stop.
    along: Option<(Arriving, Cancel)>,
    runtime: Handle,
}

fn read_only() -> Fault {
    "a layer that is applied writes no content".into()
}

impl Blobs for Readable {
    fn open(&self, digest: &Digest) -> Result<Opened, Fault> {
        if let Some((arriving, cancel)) = &self.along {
            return Ok(Opened {
                bytes: Box::new(arriving.reader(cancel)),
                // The descriptor's counts.
                size: 0,
                verified: true,
            });
        }
        let blob = self
            .runtime
            .block_on(self.metadata.content_reader(&self.caller, digest))?;
        Ok(Opened {
            size: blob.size(),
            bytes: Box::new(blob),
            verified: false,
        })
    }

    fn create(&self, _: &str) -> Result<Box<dyn BlobWriter>, Fault> {
        Err(read_only())
    }

    fn abort(&self, _: &str) -> Result<(), Fault> {
        Err(read_only())
    }

    fn add_label(&self, _: &Digest, _: &str, _: &str) -> Result<(), Fault> {
        Err(read_only())
    }
}
