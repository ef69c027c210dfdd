//! A client of the content service.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use transom_api::content::content_client::ContentClient;
use transom_api::content::{
    Info, InfoRequest, ReadContentRequest, StatusRequest, WriteAction, WriteContentRequest,
    WriteContentResponse,
};

use crate::rig::{Rig, here, sha256};

pub(crate) const NEVER: Duration = Duration::from_secs(120);
pub(crate) const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(crate) fn client(rig: &Rig) -> ContentClient<tonic::transport::Channel> {
    let limit = transom_api::limits::MESSAGE_BYTES;
    ContentClient::new(rig.channel.clone())
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit)
}

/// A write stream, one message at a time.
pub(crate) struct Write {
    pub(crate) messages: Option<mpsc::Sender<WriteContentRequest>>,
    pub(crate) answers: Streaming<WriteContentResponse>,
}

impl Write {
    pub(crate) async fn open(
        rig: &Rig,
        first: WriteContentRequest,
    ) -> Result<(Write, WriteContentResponse), Status> {
        let (messages, stream) = mpsc::channel(4);
        messages.send(first).await.expect("there is room");
        let answers = client(rig)
            .write(here(ReceiverStream::new(stream)))
            .await?
            .into_inner();
        let mut write = Write {
            messages: Some(messages),
            answers,
        };
        let answer = write.next().await?;
        Ok((write, answer))
    }

    pub(crate) async fn next(&mut self) -> Result<WriteContentResponse, Status> {
        let answer = timeout(NEVER, self.answers.message())
            .await
            .expect("an answer comes");
        answer?.ok_or_else(|| Status::cancelled("the stream ended"))
    }

    pub(crate) async fn ask(&mut self, message: WriteContentRequest) -> Result<WriteContentResponse, Status> {
        let messages = self.messages.as_ref().expect("not closed yet");
        messages.send(message).await.expect("the stream is open");
        self.next().await
    }

    /// Closes this side, and takes what still comes.
    pub(crate) async fn finish(mut self) -> Vec<WriteContentResponse> {
        self.messages = None;
        let mut rest = Vec::new();
        while let Some(answer) = timeout(NEVER, self.answers.message())
            .await
            .expect("it ends")
            .expect("well")
        {
            rest.push(answer);
        }
        rest
    }
}

pub(crate) fn stat(reference: &str) -> WriteContentRequest {
    WriteContentRequest {
        r#ref: reference.to_owned(),
        ..WriteContentRequest::default()
    }
}

pub(crate) fn bytes(offset: i64, data: &'static [u8]) -> WriteContentRequest {
    WriteContentRequest {
        action: WriteAction::Write.into(),
        offset,
        data: Bytes::from_static(data),
        ..WriteContentRequest::default()
    }
}

pub(crate) fn commit(offset: i64, total: i64, expected: &str) -> WriteContentRequest {
    WriteContentRequest {
        action: WriteAction::Commit.into(),
        offset,
        total,
        expected: expected.to_owned(),
        ..WriteContentRequest::default()
    }
}

/// Writes a blob in one message.
pub(crate) async fn put(rig: &Rig, data: &[u8]) -> String {
    let message = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: sha256(data),
        data: Bytes::copy_from_slice(data),
        ..WriteContentRequest::default()
    };
    let (write, answer) = Write::open(rig, message).await.expect("a blob is written");
    assert_eq!(answer.digest, sha256(data));
    write.finish().await;
    answer.digest
}

/// Writes a blob to a daemon in a process of its own.
pub(crate) async fn put_on(channel: tonic::transport::Channel, data: &[u8]) {
    let message = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: sha256(data),
        data: Bytes::copy_from_slice(data),
        ..WriteContentRequest::default()
    };
    let mut client =
        ContentClient::new(channel).max_encoding_message_size(transom_api::limits::MESSAGE_BYTES);
    let answers = client.write(here(tokio_stream::once(message))).await;
    let mut answers = answers.expect("a stream").into_inner();
    let answer = answers.message().await.expect("written").expect("an answer");
    assert_eq!(answer.digest, sha256(data));
}

pub(crate) async fn read(
    rig: &Rig,
    digest: &str,
    offset: i64,
    size: i64,
) -> Result<(Vec<i64>, Vec<u8>), Status> {
    let request = ReadContentRequest {
        digest: digest.to_owned(),
        offset,
        size,
    };
    let mut answers = client(rig).read(here(request)).await?.into_inner();
    let (mut offsets, mut data) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.message().await? {
        offsets.push(answer.offset);
        data.extend_from_slice(&answer.data);
    }
    Ok((offsets, data))
}

pub(crate) async fn status(rig: &Rig, reference: &str) -> Result<transom_api::content::Status, Status> {
    let request = StatusRequest {
        r#ref: reference.to_owned(),
    };
    let answer = client(rig).status(here(request)).await?.into_inner();
    Ok(answer.status.expect("a status"))
}

pub(crate) async fn info(rig: &Rig, digest: &str) -> Result<Info, Status> {
    let request = InfoRequest {
        digest: digest.to_owned(),
    };
    Ok(client(rig)
        .info(here(request))
        .await?
        .into_inner()
        .info
        .expect("an info"))
}

/// Every kind of daemon that serves content.
pub(crate) async fn rigs() -> Vec<Rig> {
    vec![Rig::start().await, Rig::proxy().await]
}
