//! Streams beside requests: bytes in and out of a transfer, and its progress. The two ends keep to containerd's protocol: who
//! receives says how much may be sent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use transom_api::streaming::StreamInit;
use transom_api::transfer_types::{Data, WindowUpdate};

use super::Client;
use super::transfer::{failure, packed, unpacked};
use crate::failure::Failure;

/// Bytes of one message, and half of what may be sent before the next word from who receives.
const MESSAGE: usize = 32 << 10;
/// Bytes that are asked for at a time.
const WINDOW: usize = 2 * MESSAGE;
/// Messages that wait for the connection.
const QUEUE: usize = 4;

/// A stream that requests refer to by its id.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) id: String,
    outgoing: mpsc::Sender<Any>,
    incoming: Streaming<Any>,
}

impl Client {
    /// Opens a stream that nothing uses yet.
    pub(crate) async fn pipe(&self, what: &str) -> Result<Pipe, Failure> {
        let id = unique(what);
        let (outgoing, queue) = mpsc::channel(QUEUE);
        // The queue is empty, so this finds room.
        drop(outgoing.try_send(packed(&StreamInit { id: id.clone() })));
        let opened = self.streaming().stream(ReceiverStream::new(queue)).await;
        let mut incoming = opened.map_err(failure)?.into_inner();
        // The answer says that the id is known.
        incoming
            .message()
            .await?
            .ok_or_else(|| Failure::silent("the stream"))?;
        Ok(Pipe {
            id,
            outgoing,
            incoming,
        })
    }
}

/// A name that no other command uses.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!(
        "transom-{what}-{}-{}-{}",
        std::process::id(),
        since.as_nanos(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

impl Pipe {
    /// Sends what comes, as the other end has room for it, and waits until it has closed the stream. That the other end
    /// wants no more is no failure: the transfer says why.
    pub(crate) async fn send(
        mut self,
        mut blocks: mpsc::Receiver<io::Result<Bytes>>,
        counter: &Arc<AtomicU64>,
    ) -> Result<(), Failure> {
        let mut room = 0;
        while let Some(block) = blocks.recv().await {
            let mut block = block.map_err(|error| Failure::io("reading the input", &error))?;
            while !block.is_empty() {
                if room == 0 {
                    match self.incoming.message().await {
                        Ok(Some(message)) => room += granted(&message)?,
                        Ok(None) | Err(_) => return Ok(()),
                    }
                    continue;
                }
                let part = block.split_to(block.len().min(room).min(MESSAGE));
                room -= part.len();
                counter.fetch_add(part.len() as u64, Ordering::Relaxed);
                if self.outgoing.send(packed(&Data { data: part })).await.is_err() {
                    return Ok(());
                }
            }
        }
        drop(self.outgoing);
        while let Ok(Some(_)) = self.incoming.message().await {}
        Ok(())
    }

    /// Hands on what is sent, until the other end closes the stream.
    pub(crate) async fn receive(
        mut self,
        mut each: impl FnMut(&Bytes) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut room = 0;
        loop {
            if room < WINDOW {
                let update = WindowUpdate {
                    update: i32::try_from(WINDOW).unwrap_or(i32::MAX),
                };
                // If the other end has gone, the next message says so.
                drop(self.outgoing.send(packed(&update)).await);
                room += WINDOW;
            }
            let Some(message) = self.incoming.message().await? else {
                return Ok(());
            };
            let data = unpacked::<Data>(&message)?.data;
            room = room.saturating_sub(data.len());
            each(&data)?;
        }
    }

    /// Sends a message. That the other end has gone shows elsewhere.
    pub(crate) async fn reply(&self, message: Any) {
        drop(self.outgoing.send(message).await);
    }

    /// The next message, until the other end closes the stream or is lost.
    pub(crate) async fn next(&mut self) -> Option<Any> {
        self.incoming.message().await.ok().flatten()
    }
}

/// How much more may be sent.
fn granted(message: &Any) -> Result<usize, Failure> {
    let update = unpacked::<WindowUpdate>(message)?.update;
    Ok(usize::try_from(update).unwrap_or_default())
}
