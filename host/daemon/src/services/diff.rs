//! `containerd.services.diff.v1.Diff`: layers applied to mounts, and mounts compared.
//!
//! [`content`] is where a request's blobs are: `local` (here) or `remote` (in the containerd that this daemon is behind);
//! `errors` says what failures are to clients, `findings` who is told what processors found.

pub mod content;
mod errors;
mod findings;
mod local;
mod remote;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};
use transom_api::diff as api;
use transom_api::diff::diff_server::{Diff, DiffServer};
use transom_api::types;
use transom_diff::{Applied, ApplyRequest, CompareRequest, DiffError, Differs};
use transom_layer::cancel::Cancel;
use transom_layer::stage::Payload;
use transom_meta::{Class, Metadata, names};
use transom_oci::Descriptor;
use transom_sys::Mount;
use transom_transfer::artifacts::Made;

use self::content::Content;
use super::{blocking, limited};
use crate::{convert, status};

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    differs: Differs,
    content: Content,
    places: Arc<Semaphore>,
    metadata: Option<Metadata>,
}

impl Service {
    /// A service that asks `differs`, at most `at_once` times at once.
    #[must_use]
    pub fn new(differs: Differs, content: Content, at_once: usize) -> Service {
        Service {
            differs,
            content,
            places: Arc::new(Semaphore::new(at_once)),
            metadata: None,
        }
    }

    /// The same, with events about what processors find in layers, and with a place for what they write about them.
    #[must_use]
    pub fn recording(mut self, metadata: Metadata) -> Service {
        self.metadata = Some(metadata);
        self
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> DiffServer<Service> {
        limited!(DiffServer::new(self))
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|_| status::said(Class::Unavailable, "the daemon is stopping"))
    }
}

#[tonic::async_trait]
impl Diff for Service {
    async fn apply(
        &self,
        request: Request<api::ApplyRequest>,
    ) -> Result<Response<api::ApplyResponse>, Status> {
        let cancel = Stop::default();
        let blobs = self.content.of(&request, &cancel.0)?;
        let caller = convert::caller(&request).ok();
        let request = request.into_inner();
        let descriptor = descriptor(request.diff)?;
        let layer = descriptor.digest.clone();
        let place = self.place().await?;
        let (differs, stop) = (self.differs.clone(), cancel.0.clone());
        let work = move || {
            let _place = place;
            let payloads: Vec<_> = request.payloads.into_iter().map(payload).collect();
            differs.apply(
                blobs.as_ref(),
                &ApplyRequest {
                    descriptor: &descriptor,
                    mounts: &mounts(request.mounts),
                    payloads: &payloads,
                    sync_fs: request.sync_fs,
                    cancel: &stop,
                    progress: Arc::new(AtomicU64::new(0)),
                },
            )
        };
        let applied = blocking(work).await?;
        let record = self.metadata.as_ref().zip(caller.as_ref());
        let events = record.map(|(metadata, caller)| (metadata.events(), &caller.namespace));
        findings::tell(&applied, &layer, events);
        if let (
            Ok(Applied {
                report: Some(report), ..
            }),
            Some(record),
        ) = (&applied, record)
        {
            findings::keep(&Made::of(&report.stages), &layer, record).await;
        }
        let applied = applied.map_err(|error| errors::status(&error))?;
        let applied = Some(message(applied.descriptor));
        Ok(Response::new(api::ApplyResponse { applied }))
    }

    async fn diff(&self, request: Request<api::DiffRequest>) -> Result<Response<api::DiffResponse>, Status> {
        let cancel = Stop::default();
        let blobs = self.content.of(&request, &cancel.0)?;
        self.content.can_write()?;
        let request = request.into_inner();
        names::labels("labels", &request.labels).map_err(|error| status::of(&error))?;
        let source_date_epoch = convert::time("source_date_epoch", request.source_date_epoch)?;
        let place = self.place().await?;
        let (differs, stop) = (self.differs.clone(), cancel.0.clone());
        let work = move || {
            let _place = place;
            differs.compare(
                blobs.as_ref(),
                &CompareRequest {
                    left: &mounts(request.left),
                    right: &mounts(request.right),
                    media_type: &request.media_type,
                    reference: Some(request.r#ref.as_str()).filter(|reference| !reference.is_empty()),
                    labels: &request.labels,
                    source_date_epoch,
                    cancel: &stop,
                },
            )
        };
        let written: Result<Descriptor, DiffError> = blocking(work).await?;
        let diff = Some(message(written.map_err(|error| errors::status(&error))?));
        Ok(Response::new(api::DiffResponse { diff }))
    }
}

/// Stops the work of a request when its future is dropped: then the client has gone, or the daemon stops. The work itself
/// goes on in threads, which see to it that nothing of it stays mounted or running.
#[derive(Debug, Default)]
struct Stop(Cancel);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn descriptor(message: Option<types::Descriptor>) -> Result<Descriptor, Status> {
    let message = message.ok_or_else(|| status::missing("diff"))?;
    let digest = names::digest(&message.digest)
        .map_err(|reason| status::said(Class::InvalidArgument, format!("{}: {reason}", message.digest)))?;
    // Many clients leave the size out, and some say -1.
    let size = u64::try_from(message.size).unwrap_or_default();
    let mut descriptor = Descriptor::new(message.media_type, digest, size);
    descriptor.annotations = message.annotations;
    Ok(descriptor)
}

fn message(descriptor: Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type,
        digest: descriptor.digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        annotations: descriptor.annotations,
    }
}

fn mounts(messages: Vec<types::Mount>) -> Vec<Mount> {
    let mount = |message: types::Mount| Mount {
        kind: message.r#type,
        source: message.source,
        target: message.target,
        options: message.options,
    };
    messages.into_iter().map(mount).collect()
}

fn payload((processor, message): (String, prost_types::Any)) -> (String, Payload) {
    let payload = Payload {
        type_url: message.type_url,
        value: message.value.into(),
    };
    (processor, payload)
}
