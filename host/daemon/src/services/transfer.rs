//! `containerd.services.transfer.v1.Transfer`: from one end to the other, where `ends` says what an end is, `bytes` how bytes
//! run over a client's streams, `registries` how registries are reached, `credentials` how a client is asked for its
//! passwords, and `telling` how it is told what happens.

mod bytes;
mod credentials;
mod ends;
pub mod registries;
mod telling;

use std::sync::Arc;

use prost_types::Any;
use tonic::{Request, Response, Status};
use transom_api::transfer::TransferRequest;
use transom_api::transfer::transfer_server::{self, TransferServer};
use transom_meta::Caller;
use transom_transfer::{ProgressSink, Registry, TransferError, Transfers, echo};

use super::limited;
use super::streaming::Streams;
use crate::convert::caller;
use crate::status;

use bytes::{Incoming, Outgoing};
use ends::{End, RegistryEnd};
use registries::Registries;
use telling::Telling;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    transfers: Transfers,
    streams: Streams,
    registries: Registries,
}

impl Service {
    /// A service that moves images, over the pipes in `streams` and from and to `registries`.
    #[must_use]
    pub fn new(transfers: Transfers, streams: Streams, registries: Registries) -> Service {
        Service {
            transfers,
            streams,
            registries,
        }
    }

    /// The service for a server.
    #[must_use]
    pub fn server(self) -> TransferServer<Service> {
        limited!(TransferServer::new(self))
    }

    async fn between(
        &self,
        caller: &Caller,
        (from, to): (End, End),
        progress: Arc<dyn ProgressSink>,
    ) -> Result<bool, Status> {
        match (from, to) {
            (End::Store(from), End::Store(to)) => {
                self.transfers.tag(caller, &from, &to).await.map_err(failed)?;
            }
            (End::Import { stream, options }, End::Store(into)) => {
                let archive = Box::new(Incoming::new(self.pipe(caller, &stream)?));
                let imported = self.transfers.import(caller, archive, options, &into, progress);
                imported.await.map_err(failed)?;
            }
            (End::Store(images), End::Export { stream, options }) => {
                let mut archive = Outgoing::new(self.pipe(caller, &stream)?);
                let exported = self
                    .transfers
                    .export(caller, &images, &options, &mut archive, &*progress)
                    .await;
                ended(archive, exported.map_err(failed)).await?;
            }
            (End::Import { stream: from, .. }, End::Export { stream: to, .. }) => {
                let mut source = Incoming::new(self.pipe(caller, &from)?);
                let mut sink = Outgoing::new(self.pipe(caller, &to)?);
                let echoed = echo::echo(&mut source, &mut sink).await;
                ended(sink, echoed.map_err(|error| failed(error.into()))).await?;
            }
            (End::Registry(from), End::Store(into)) => {
                let from = self.registry(caller, from)?;
                let pulled = self.transfers.pull(caller, &from, &into, progress);
                pulled.await.map_err(failed)?;
            }
            (End::Store(image), End::Registry(to)) => {
                let to = self.registry(caller, to)?;
                let pushed = self.transfers.push(caller, &image, &to, progress);
                pushed.await.map_err(failed)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn registry(&self, caller: &Caller, end: RegistryEnd) -> Result<Registry, Status> {
        let pipe = match end.auth_stream.as_str() {
            "" => None,
            id => Some(self.pipe(caller, id)?),
        };
        self.registries.open(end, pipe).map_err(failed)
    }

    fn pipe(&self, caller: &Caller, id: &str) -> Result<super::streaming::Pipe, Status> {
        let pipe = self.streams.take(&caller.namespace, id);
        pipe.ok_or_else(|| status::said(transom_meta::Class::NotFound, format!("stream {id:?}")))
    }
}

/// A client that reads a stream to its end must not take a broken one for a whole one.
async fn ended(sink: Outgoing, result: Result<(), Status>) -> Result<(), Status> {
    match &result {
        Ok(()) => sink.finish().await,
        Err(status) => sink.fail(status.clone()).await,
    }
    result
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: TransferError) -> Status {
    status::said(error.class(), error.to_string())
}

#[tonic::async_trait]
impl transfer_server::Transfer for Service {
    async fn transfer(&self, request: Request<TransferRequest>) -> Result<Response<()>, Status> {
        let caller = caller(&request)?;
        let TransferRequest {
            source,
            destination,
            options,
        } = request.into_inner();
        let source = source.ok_or_else(|| status::missing("source"))?;
        let destination = destination.ok_or_else(|| status::missing("destination"))?;
        let progress = options.map(|options| options.progress_stream).unwrap_or_default();
        let telling = match progress.as_str() {
            "" => Telling::nobody(),
            id => Telling::to(self.pipe(&caller, id)?),
        };
        let ends = (End::read(&source)?, End::read(&destination)?);
        let done = self.between(&caller, ends, telling.sink()).await;
        telling.finish().await;
        if done? {
            return Ok(Response::new(()));
        }
        Err(unsupported(&source, &destination))
    }
}

/// In containerd's words, which its clients know.
fn unsupported(source: &Any, destination: &Any) -> Status {
    Status::unimplemented(format!(
        "method Transfer not implemented for {} to {}",
        source.type_url, destination.type_url
    ))
}
