//! Bytes into a daemon: one write stream, from its opening to its commit.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use transom_api::content::{WriteAction, WriteContentRequest, WriteContentResponse};

use super::Client;
use crate::failure::{Failure, Kind};
use crate::limits;

/// What an ingest must become.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) reference: String,
    /// Bytes.
    pub(crate) total: Option<u64>,
    pub(crate) expected: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// How an ingest was opened.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It is to be written.
    Writer(Box<Writer>),
    /// The blob that is expected is there.
    Exists,
}

/// An open ingest. Dropping it leaves what was written to be resumed.
#[derive(Debug)]
pub(crate) struct Writer {
    wanted: Wanted,
    requests: mpsc::Sender<WriteContentRequest>,
    responses: Streaming<WriteContentResponse>,
    /// Bytes that were sent, those of earlier streams among them.
    offset: u64,
    /// Writes that were not answered.
    waiting: usize,
    /// Of what the daemon has.
    digest: String,
}

/// A committed blob.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) digest: String,
    /// Whether it was there before.
    pub(crate) existed: bool,
}

impl Client {
    /// Opens an ingest, or takes one up again. One that another client has locked is waited for, but not for long.
    pub(crate) async fn upload(&self, wanted: &Wanted) -> Result<Opened, Failure> {
        let end = Instant::now() + limits::LOCKED;
        let mut pause = Duration::from_millis(16);
        loop {
            match self.open(wanted).await {
                Err(status)
                    if status.code() == Code::Unavailable && is_lock(&status) && Instant::now() < end =>
                {
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(status) if status.code() == Code::AlreadyExists => return Ok(Opened::Exists),
                opened => return Ok(Opened::Writer(Box::new(opened?))),
            }
        }
    }

    async fn open(&self, wanted: &Wanted) -> Result<Writer, Status> {
        let (requests, queue) = mpsc::channel(limits::BLOCKS_AHEAD);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: wanted.reference.clone(),
            total: wanted.total.map_or(0, length),
            expected: wanted.expected.clone().unwrap_or_default(),
            ..WriteContentRequest::default()
        };
        // The daemon may answer the call itself only after this.
        drop(requests.try_send(first));
        let responses = self
            .content()
            .write(ReceiverStream::new(queue))
            .await?
            .into_inner();
        let mut writer = Writer {
            wanted: wanted.clone(),
            requests,
            responses,
            offset: 0,
            waiting: 0,
            digest: String::new(),
        };
        let status = writer.response().await?;
        writer.offset = status.offset.try_into().unwrap_or_default();
        writer.digest = status.digest;
        Ok(writer)
    }
}

impl Writer {
    /// Bytes that are there or on their way.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Sends bytes; returns when not too much is on its way.
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<(), Failure> {
        while self.waiting >= limits::BLOCKS_AHEAD {
            self.answered().await?;
        }
        let length = data.len() as u64;
        self.send(WriteAction::Write, data).await?;
        self.offset += length;
        self.waiting += 1;
        Ok(())
    }

    /// Waits until the daemon has everything; the digest of what it has, as far as it says.
    pub(crate) async fn settled(&mut self) -> Result<&str, Failure> {
        while self.waiting > 0 {
            self.answered().await?;
        }
        Ok(&self.digest)
    }

    /// Ends the stream with what was sent, for another time.
    pub(crate) async fn close(mut self) -> Result<(), Failure> {
        while self.waiting > 0 {
            self.answered().await?;
        }
        drop(self.requests);
        // The daemon says its last word again, and then the end: what was written is closed.
        while self.responses.message().await?.is_some() {}
        Ok(())
    }

    /// Makes a blob of what was sent.
    pub(crate) async fn commit(mut self) -> Result<Committed, Failure> {
        while self.waiting > 0 {
            self.answered().await?;
        }
        match self.try_commit().await {
            Ok(response) => Ok(Committed {
                digest: response.digest,
                existed: false,
            }),
            Err(status) if status.code() == Code::AlreadyExists => Ok(Committed {
                digest: self.wanted.expected.unwrap_or(self.digest),
                existed: true,
            }),
            // Another size or digest than was demanded.
            Err(status) if status.code() == Code::FailedPrecondition => {
                Err(Failure::new(Kind::Damaged, Failure::from(status).message()))
            }
            Err(status) => Err(status.into()),
        }
    }

    async fn try_commit(&mut self) -> Result<WriteContentResponse, Status> {
        self.send(WriteAction::Commit, Bytes::new()).await?;
        self.response().await
    }

    /// Takes the answer to one write.
    async fn answered(&mut self) -> Result<(), Status> {
        let response = self.response().await?;
        self.waiting -= 1;
        self.digest = response.digest;
        Ok(())
    }

    async fn send(&mut self, action: WriteAction, data: Bytes) -> Result<(), Status> {
        let commit = action == WriteAction::Commit;
        let total = self.wanted.total.or(commit.then_some(self.offset));
        let request = WriteContentRequest {
            action: action.into(),
            r#ref: self.wanted.reference.clone(),
            total: total.map_or(0, length),
            expected: self.wanted.expected.clone().unwrap_or_default(),
            offset: length(self.offset),
            data,
            labels: if commit {
                self.wanted.labels.clone()
            } else {
                BTreeMap::new()
            },
        };
        if self.requests.send(request).await.is_ok() {
            return Ok(());
        }
        // The daemon has ended the stream, and says why where answers are expected.
        while self.responses.message().await?.is_some() {}
        Err(ended())
    }

    async fn response(&mut self) -> Result<WriteContentResponse, Status> {
        self.responses.message().await?.ok_or_else(ended)
    }
}

fn ended() -> Status {
    Status::unavailable("the daemon ended the write without an answer")
}

fn is_lock(status: &Status) -> bool {
    status.message().contains("locked")
}

fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
