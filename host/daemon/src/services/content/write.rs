//! The write stream: one ingest, from its opening to its commit.
//!
//! One answer for each message, made of the last one: what an answer does not set stays as an earlier one had it. At a good end
//! the last answer is sent once more, because containerd does and clients have learnt to ignore it.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tonic::{Status, Streaming};
use transom_api::content::{WriteAction, WriteContentRequest, WriteContentResponse};
use transom_meta::{Class, Error};
use transom_oci::Digest;
use transom_transfer::along::Along;

use super::backend::Who;
use super::ingest::Ingest;
use super::{Shared, digest, length};
use crate::answers::{Answers, Sink, answers, send};
use crate::convert::timestamp;
use crate::status;

/// Answers a write stream.
pub(super) fn write(
    shared: Arc<Shared>,
    who: Who,
    place: OwnedSemaphorePermit,
    mut incoming: Streaming<WriteContentRequest>,
) -> Answers<WriteContentResponse> {
    answers(1, |sink| async move {
        let _open = (place, shared.metrics.write_stream());
        let first = incoming.message().await?.unwrap_or_default();
        let mut session = Session::open(&shared, &who, &first).await?;
        let done = session.run(first, &mut incoming, &sink).await;
        session.close().await;
        if done? == End::Good {
            send(&sink, session.answer).await;
        }
        Ok(())
    })
}

/// How a stream ends that does not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Good,
    /// The client has gone.
    Gone,
}

/// One stream.
struct Session<'s> {
    shared: &'s Shared,
    who: &'s Who,
    reference: String,
    ingest: Option<Ingest>,
    total: Option<u64>,
    expected: Option<Digest>,
    along: Along,
    answer: WriteContentResponse,
}

impl<'s> Session<'s> {
    async fn open(
        shared: &'s Shared,
        who: &'s Who,
        first: &WriteContentRequest,
    ) -> Result<Session<'s>, Status> {
        if first.r#ref.is_empty() {
            return Err(Status::invalid_argument("first message must have a reference"));
        }
        let (total, expected) = (total(first), expected(first)?);
        let opened = shared
            .backend
            .ingest(who, &first.r#ref, total, expected.as_ref())
            .await;
        Ok(Session {
            shared,
            who,
            reference: first.r#ref.clone(),
            ingest: Some(opened.map_err(|e| status::of(&e))?),
            total,
            expected,
            along: Along::new(shared.ahead.clone().filter(|_| is_layers(&first.r#ref))),
            answer: WriteContentResponse::default(),
        })
    }

    async fn run(
        &mut self,
        first: WriteContentRequest,
        incoming: &mut Streaming<WriteContentRequest>,
        sink: &Sink<WriteContentResponse>,
    ) -> Result<End, Status> {
        let mut message = first;
        loop {
            let commits = message.action == i32::from(WriteAction::Commit);
            self.step(message).await?;
            if !send(sink, self.answer.clone()).await {
                return Ok(End::Gone);
            }
            if commits {
                return Ok(End::Good);
            }
            let next = tokio::select! {
                next = incoming.message() => next?,
                () = self.shared.shutdown.begun() => {
                    let text = "the daemon is stopping; what was written is kept, and the ref can be opened again";
                    return Err(status::said(Class::Unavailable, text));
                }
            };
            match next {
                Some(next) => message = next,
                None => return Ok(End::Good),
            }
        }
    }

    /// Does what one message asks for, and makes its answer.
    async fn step(&mut self, message: WriteContentRequest) -> Result<(), Status> {
        let before = self.ingest()?.status().map_err(|e| status::of(&e))?;
        self.answer.action = message.action;
        self.answer.offset = length(before.offset);
        self.expect(&message).await?;
        self.total = total(&message).or(self.total);
        match WriteAction::try_from(message.action) {
            Ok(WriteAction::Stat) => {
                self.answer.started_at = timestamp(before.started);
                self.answer.updated_at = timestamp(before.updated);
                self.answer.total = length(self.total.unwrap_or_default());
                self.answer.digest = self.digest()?;
            }
            Ok(action @ (WriteAction::Write | WriteAction::Commit)) => {
                self.append(&message, before.offset).await?;
                if action == WriteAction::Commit {
                    self.commit(message).await?;
                } else {
                    self.answer.digest = self.digest()?;
                }
            }
            // containerd echoes an action that it does not know.
            Err(_) => {}
        }
        Ok(())
    }

    /// A message may name a digest, then or anew. If the blob is there, the ingest is pointless and goes away.
    async fn expect(&mut self, message: &WriteContentRequest) -> Result<(), Status> {
        let Some(named) = expected(message)? else {
            return Ok(());
        };
        let there = self.shared.backend.info(self.who, &named).await;
        match there {
            Ok(_) => {}
            Err(error) if error.class() == Class::NotFound => {
                self.expected = Some(named);
                return Ok(());
            }
            Err(error) => return Err(status::of(&error)),
        }
        self.close().await;
        let aborted = self.shared.backend.ingest_abort(self.who, &self.reference).await;
        if let Err(error) = aborted {
            tracing::warn!(reference = self.reference, %error, "could not abort an ingest whose blob is there");
        }
        Err(Status::already_exists(format!(
            "blob with expected digest {named} exists"
        )))
    }

    async fn append(&mut self, message: &WriteContentRequest, current: u64) -> Result<(), Status> {
        let offset = u64::try_from(message.offset).unwrap_or_default();
        if offset > 0 && offset != current {
            let text = format!("write @{offset} must occur at current offset {current}");
            return Err(Status::out_of_range(text));
        }
        if offset == 0 && current > 0 {
            self.along.lost();
            let truncated = self.ingest_mut()?.truncate().await;
            truncated.map_err(|e| status::said(e.class(), format!("truncate failed: {e}")))?;
            self.answer.offset = 0;
        }
        if !message.data.is_empty() {
            let end = offset + message.data.len() as u64;
            let written = self.ingest_mut()?.write(message.data.clone()).await;
            written.map_err(|e| status::of(&e))?;
            self.shared.metrics.ingested(message.data.len());
            self.answer.offset += length(message.data.len() as u64);
            if let (Some(ingest), Some(total)) = (&self.ingest, self.total) {
                let partial = || ingest.partial().ok().flatten();
                self.along.written(end, total, partial);
            }
        }
        Ok(())
    }

    async fn commit(&mut self, message: WriteContentRequest) -> Result<(), Status> {
        let (total, expected) = (self.total, self.expected.clone());
        let committed = self
            .ingest_mut()?
            .commit(total, expected.as_ref(), message.labels)
            .await;
        let digest = committed.map_err(|e| status::of(&e))?;
        self.along.committed(&digest);
        self.answer.digest = digest.to_string();
        Ok(())
    }

    /// Keeps what was not committed, for another stream.
    async fn close(&mut self) {
        let Some(ingest) = self.ingest.take() else { return };
        match ingest.close().await {
            Ok(()) => {}
            Err(Error::Content(
                transom_content::Error::Closed { .. } | transom_content::Error::Aborted { .. },
            )) => {}
            Err(error) => {
                tracing::warn!(reference = self.reference, %error, "could not keep an ingest");
            }
        }
    }

    fn digest(&self) -> Result<String, Status> {
        let digest = self.ingest()?.digest();
        digest
            .map(|digest| digest.to_string())
            .map_err(|e| status::of(&e))
    }

    fn ingest(&self) -> Result<&Ingest, Status> {
        self.ingest.as_ref().ok_or_else(closed)
    }

    fn ingest_mut(&mut self) -> Result<&mut Ingest, Status> {
        self.ingest.as_mut().ok_or_else(closed)
    }
}

/// Whether a ref is one that containerd's clients give layers, when they pull (`layer-sha256:…`) and when they import (`tar-…`): these
/// are mostly unpacked next. What else is written, such as a build's cache, is not.
fn is_layers(reference: &str) -> bool {
    ["layer-", "tar-"]
        .iter()
        .any(|start| reference.starts_with(start))
}

fn closed() -> Status {
    status::said(Class::FailedPrecondition, "the writer is closed")
}

fn total(message: &WriteContentRequest) -> Option<u64> {
    u64::try_from(message.total).ok().filter(|total| *total > 0)
}

fn expected(message: &WriteContentRequest) -> Result<Option<Digest>, Status> {
    if message.expected.is_empty() {
        return Ok(None);
    }
    digest(&message.expected).map(Some)
}
