//! Bytes over a client's stream, by containerd's protocol: whoever receives says how many bytes it takes (`WindowUpdate`), and
//! whoever sends sends no more (`Data`). The end of the stream is the end of the bytes.

use bytes::Bytes;
use prost::Message;
use prost_types::Any;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use transom_api::transfer_types::{Data, WindowUpdate};
use transom_meta::kv::Pending;
use transom_transfer::{ByteSink, ByteSource, StreamError};

use super::super::streaming::Pipe;
use crate::limits;

const DATA: &str = "containerd.types.transfer.Data";
const WINDOW_UPDATE: &str = "containerd.types.transfer.WindowUpdate";

fn broken(reason: impl Into<String>) -> StreamError {
    StreamError {
        reason: reason.into(),
    }
}

fn name(message: &Any) -> &str {
    message.type_url.rsplit('/').next().unwrap_or_default()
}

async fn send(outgoing: &mpsc::Sender<Result<Any, Status>>, message: Any) -> Result<(), StreamError> {
    let sent = outgoing.send(Ok(message)).await;
    sent.map_err(|_| broken("the client has gone"))
}

/// The next message; an error if the stream is broken, or was ended from this side.
async fn receive(
    incoming: &mut Streaming<Any>,
    outgoing: &mpsc::Sender<Result<Any, Status>>,
) -> Result<Option<Any>, StreamError> {
    tokio::select! {
        biased;
        message = incoming.message() => message.map_err(|status| broken(status.message())),
        () = outgoing.closed() => Err(broken("the client has gone")),
    }
}

/// Bytes that a client sends.
pub(super) struct Incoming {
    pipe: Pipe,
    /// How many bytes the client may send before it is told more.
    window: usize,
}

impl Incoming {
    pub(super) fn new(pipe: Pipe) -> Incoming {
        Incoming { pipe, window: 0 }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, StreamError> {
        loop {
            self.open().await?;
            let Some(message) = receive(&mut self.pipe.incoming, &self.pipe.outgoing).await? else {
                // A stream that was given up ends like one that was sent whole. If its answer is not known to have gone yet, it
                // is for the archive to say that bytes are missing.
                return match self.pipe.outgoing.is_closed() {
                    true => Err(broken("the client has gone")),
                    false => Ok(None),
                };
            };
            // What else there may be in times to come is not for us.
            if name(&message) != DATA {
                continue;
            }
            let data = Data::decode(Bytes::from(message.value)).map_err(|error| broken(error.to_string()))?;
            self.window = self.window.saturating_sub(data.data.len());
            if !data.data.is_empty() {
                return Ok(Some(data.data));
            }
        }
    }

    /// Lets the client send more, if it may send less than it could.
    async fn open(&mut self) -> Result<(), StreamError> {
        let missing = limits::TRANSFER_WINDOW_BYTES - self.window.min(limits::TRANSFER_WINDOW_BYTES);
        if missing < limits::TRANSFER_WINDOW_BYTES / 2 {
            return Ok(());
        }
        self.window += missing;
        let update = WindowUpdate {
            update: i32::try_from(missing).unwrap_or(i32::MAX),
        };
        let message = Any {
            type_url: WINDOW_UPDATE.to_owned(),
            value: update.encode_to_vec(),
        };
        // A client that has sent everything may be gone, and what it sent is here.
        let _ = send(&self.pipe.outgoing, message).await;
        Ok(())
    }
}

impl ByteSource for Incoming {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, StreamError>> {
        Box::pin(self.receive())
    }
}

/// Bytes that a client is sent.
pub(super) struct Outgoing {
    pipe: Pipe,
    /// How many bytes the client takes.
    window: usize,
}

impl Outgoing {
    pub(super) fn new(pipe: Pipe) -> Outgoing {
        Outgoing { pipe, window: 0 }
    }

    /// Ends the bytes, and waits until the client has been sent them.
    pub(super) async fn finish(self) {
        self.pipe.end(limits::LAST_EVENTS).await;
    }

    /// Ends the stream so that the client knows that bytes are missing, if it reads at all.
    pub(super) async fn fail(self, status: Status) {
        let sent = self.pipe.outgoing.send(Err(status));
        let _ = tokio::time::timeout(limits::LAST_EVENTS, sent).await;
    }

    async fn deliver(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            while self.window == 0 {
                self.wait().await?;
            }
            let count = bytes.len().min(self.window).min(limits::TRANSFER_DATA_BYTES);
            self.window -= count;
            let data = Data {
                data: bytes.split_to(count),
            };
            let message = Any {
                type_url: DATA.to_owned(),
                value: data.encode_to_vec(),
            };
            send(&self.pipe.outgoing, message).await?;
        }
        Ok(())
    }

    /// Waits until the client takes more bytes.
    async fn wait(&mut self) -> Result<(), StreamError> {
        let message = receive(&mut self.pipe.incoming, &self.pipe.outgoing).await?;
        let message = message.ok_or_else(|| broken("the client takes no more bytes"))?;
        if name(&message) == WINDOW_UPDATE {
            let update = WindowUpdate::decode(message.value.as_slice());
            let update = update.map_err(|error| broken(error.to_string()))?.update;
            let update = usize::try_from(update).map_err(|_| broken("a window cannot be made smaller"))?;
            self.window = self.window.saturating_add(update);
        }
        Ok(())
    }
}

impl ByteSink for Outgoing {
    fn send(&mut self, bytes: Bytes) -> Pending<'_, Result<(), StreamError>> {
        Box::pin(self.deliver(bytes))
    }
}
