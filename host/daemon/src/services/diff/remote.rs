//! The content of the containerd that this daemon is behind, through its own API.
//!
//! A new blob is written under a lease. If the request came with one, that is it. But containerd does not pass on the lease of
//! a client that compares through it, and would collect the blob before the client has put a label on it: then the lease is
//! one of our own, which expires.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::{Buf as _, Bytes};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};
use transom_api::content as api;
use transom_api::content::content_client::ContentClient;
use transom_api::leases::leases_client::LeasesClient;
use transom_api::leases::{CreateRequest, DeleteRequest};
use transom_diff::blobs::{BlobWriter, Blobs, Committed, Fault, Labels, Opened};
use transom_layer::cancel::{Cancel, CancelHook};
use transom_meta::Caller;
use transom_oci::Digest;

use super::local::Local;
use crate::limits::{BORROWED_LEASE, REMOTE_CLEANUP};

/// Where a containerd is. It is connected to when something is asked of it, and again after it was away.
#[derive(Clone, Debug)]
pub struct Remote {
    channel: Channel,
}

impl Remote {
    /// The containerd that serves on a socket. To be called where the runtime is.
    #[must_use]
    pub fn new(address: &Path) -> Remote {
        let address = address.to_path_buf();
        let connect = tower::service_fn(move |_: Uri| {
            let address = address.clone();
            async move {
                let connected = UnixStream::connect(&address).await;
                let stream = connected.map_err(|error| {
                    let text = format!("{} (content_address in [diff]): {error}", address.display());
                    io::Error::new(error.kind(), text)
                });
                stream.map(TokioIo::new)
            }
        });
        Remote {
            channel: Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect),
        }
    }

    /// The same, on behalf of a caller.
    pub(super) fn of(&self, caller: Caller, cancel: &Cancel) -> There {
        let stopped = Arc::new(Notify::new());
        let told = Arc::clone(&stopped);
        There {
            asked: Asked {
                channel: self.channel.clone(),
                caller,
                runtime: Handle::current(),
                _hook: Arc::new(cancel.on_cancel(move || told.notify_one())),
                cancel: cancel.clone(),
                stopped,
            },
            lease: OnceLock::new(),
        }
    }
}

/// Why a containerd said no, or why it could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("{}", said(.0))]
pub(super) struct Refusal(pub(super) Status);

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal(status)
    }
}

/// Its words, and what is behind them if that is more than they say: why there is no connection, for one.
fn said(status: &Status) -> String {
    let mut cause = status.source();
    while let Some(deeper) = cause.and_then(Error::source) {
        cause = Some(deeper);
    }
    match cause.map(ToString::to_string) {
        Some(cause) if !status.message().contains(&cause) => format!("{}: {cause}", status.message()),
        _ => status.message().to_owned(),
    }
}

/// What asking a containerd takes.
#[derive(Clone)]
struct Asked {
    channel: Channel,
    caller: Caller,
    runtime: Handle,
    cancel: Cancel,
    /// Told when the request is cancelled.
    stopped: Arc<Notify>,
    _hook: Arc<CancelHook>,
}

impl Asked {
    fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone())
            .max_decoding_message_size(transom_api::limits::MESSAGE_BYTES)
            .max_encoding_message_size(transom_api::limits::MESSAGE_BYTES)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let lease = self.caller.lease.as_deref().unwrap_or_default();
        for (name, value) in [
            (transom_api::NAMESPACE_HEADER, self.caller.namespace.as_str()),
            (transom_api::LEASE_HEADER, lease),
        ] {
            // Both were headers before, or made here of letters and digits.
            if !value.is_empty()
                && let Ok(value) = value.parse()
            {
                request.metadata_mut().insert(name, value);
            }
        }
        request
    }

    /// Waits for an answer, but no longer than the request that it is for: a containerd that does not answer must not hold
    /// threads and mounts.
    fn wait<T>(&self, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Refusal> {
        let cancelled = || Status::cancelled("context canceled");
        if self.cancel.is_requested() {
            return Err(cancelled().into());
        }
        let answer = self.runtime.block_on(async {
            tokio::select! {
                answer = answer => answer,
                () = self.stopped.notified() => Err(cancelled()),
            }
        });
        Ok(answer?)
    }

    fn info(&self, digest: &Digest) -> Result<api::Info, Refusal> {
        let digest = digest.to_string();
        let request = self.request(api::InfoRequest { digest });
        let answer = self.wait(async { self.content().info(request).await })?;
        Ok(answer.into_inner().info.unwrap_or_default())
    }
}

/// The content of a containerd, on behalf of one caller.
pub(super) struct There {
    asked: Asked,
    /// The lease of our own that a new blob is under.
    lease: OnceLock<String>,
}

impl There {
    fn open(&self, digest: &Digest) -> Result<Opened, Fault> {
        let info = self.asked.info(digest)?;
        let request = self.asked.request(api::ReadContentRequest {
            digest: digest.to_string(),
            offset: 0,
            size: 0,
        });
        let answers = self
            .asked
            .wait(async { self.asked.content().read(request).await })?;
        Ok(Opened {
            bytes: Box::new(Reader {
                asked: self.asked.clone(),
                answers: answers.into_inner(),
                part: Bytes::new(),
            }),
            size: u64::try_from(info.size).unwrap_or_default(),
            verified: false,
        })
    }

    fn create(&self, reference: &str) -> Result<Box<dyn BlobWriter>, Fault> {
        let asked = self.leased()?;
        let (messages, stream) = mpsc::channel(1);
        let request = asked.request(ReceiverStream::new(stream));
        let first = api::WriteContentRequest {
            action: api::WriteAction::Stat.into(),
            r#ref: reference.to_owned(),
            ..api::WriteContentRequest::default()
        };
        let opening = async {
            messages.send(first).await.map_err(|_| gone())?;
            asked.content().write(request).await
        };
        let mut writer = Writer {
            answers: asked.wait(opening)?.into_inner(),
            messages,
            asked,
            reference: reference.to_owned(),
            offset: 0,
        };
        // How far an earlier writer came does not matter: what is written at offset 0 takes its place.
        writer.answer()?;
        Ok(Box::new(writer))
    }

    /// The same, with a lease for a new blob.
    fn leased(&self) -> Result<Asked, Refusal> {
        let mut asked = self.asked.clone();
        if asked.caller.lease.is_none() {
            let id = self
                .lease
                .get_or_init(|| format!("transom-diff-{}", transom_diff::fresh()));
            let expires = prost_types::Timestamp::from(SystemTime::now() + BORROWED_LEASE).to_string();
            let request = CreateRequest {
                id: id.clone(),
                labels: Labels::from([("containerd.io/gc.expire".to_owned(), expires)]),
            };
            let request = asked.request(request);
            asked.wait(async { LeasesClient::new(asked.channel.clone()).create(request).await })?;
            asked.caller.lease = Some(id.clone());
        }
        Ok(asked)
    }

    fn abort(&self, reference: &str) -> Result<(), Fault> {
        let aborting = async {
            let r#ref = reference.to_owned();
            let request = self.asked.request(api::AbortRequest { r#ref });
            let aborted = self.asked.content().abort(request).await;
            if let Some(id) = self.lease.get() {
                let (id, sync) = (id.clone(), false);
                let request = self.asked.request(DeleteRequest { id, sync });
                LeasesClient::new(self.asked.channel.clone())
                    .delete(request)
                    .await?;
            }
            aborted
        };
        // Also after the request was cancelled, behind which it cleans up; but then nobody waits for long.
        let aborting = async { tokio::time::timeout(REMOTE_CLEANUP, aborting).await };
        match self.asked.runtime.block_on(aborting) {
            Ok(aborted) => Ok(aborted.map(drop).map_err(Refusal)?),
            Err(_) => Err(Refusal(Status::deadline_exceeded("containerd does not answer")).into()),
        }
    }

    fn add_label(&self, digest: &Digest, key: &str, value: &str) -> Result<(), Fault> {
        if self.asked.info(digest)?.labels.contains_key(key) {
            return Ok(());
        }
        let info = api::Info {
            digest: digest.to_string(),
            labels: Labels::from([(key.to_owned(), value.to_owned())]),
            ..api::Info::default()
        };
        let request = self.asked.request(api::UpdateRequest {
            info: Some(info),
            update_mask: Some(prost_types::FieldMask {
                paths: vec![format!("labels.{key}")],
            }),
        });
        self.asked
            .wait(async { self.asked.content().update(request).await })?;
        Ok(())
    }
}

/// A blob that is read from a containerd.
struct Reader {
    asked: Asked,
    answers: Streaming<api::ReadContentResponse>,
    part: Bytes,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            let next = self.answers.message();
            match self.asked.wait(next).map_err(io::Error::other)? {
                Some(answer) => self.part = answer.data,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.part.len());
        self.part.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

/// A blob that is written to a containerd: a message, its answer, the next.
struct Writer {
    asked: Asked,
    messages: mpsc::Sender<api::WriteContentRequest>,
    answers: Streaming<api::WriteContentResponse>,
    reference: String,
    offset: i64,
}

impl Writer {
    fn send(&mut self, message: api::WriteContentRequest) -> Result<(), Refusal> {
        let message = api::WriteContentRequest {
            r#ref: self.reference.clone(),
            offset: self.offset,
            ..message
        };
        let sent = async { self.messages.send(message).await.map_err(|_| gone()) };
        // Why the stream has ended is in its answers.
        let sent = self.asked.wait(sent);
        self.answer().and(sent)
    }

    fn answer(&mut self) -> Result<(), Refusal> {
        let answer = self.asked.wait(self.answers.message())?;
        Ok(answer.map(drop).ok_or_else(gone)?)
    }
}

impl BlobWriter for Writer {
    fn write(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        self.send(api::WriteContentRequest {
            action: api::WriteAction::Write.into(),
            data: bytes,
            ..api::WriteContentRequest::default()
        })?;
        self.offset += length;
        Ok(())
    }

    fn commit(mut self: Box<Self>, size: u64, digest: &Digest, labels: &Labels) -> Result<Committed, Fault> {
        let committed = self.send(api::WriteContentRequest {
            action: api::WriteAction::Commit.into(),
            total: i64::try_from(size).unwrap_or(i64::MAX),
            expected: digest.to_string(),
            labels: labels.clone(),
            ..api::WriteContentRequest::default()
        });
        match committed {
            Ok(()) => Ok(Committed::New),
            Err(Refusal(status)) if status.code() == Code::AlreadyExists => Ok(Committed::There),
            Err(refusal) => Err(refusal.into()),
        }
    }

    fn close(self: Box<Self>) -> Result<(), Fault> {
        // The end of the stream says it.
        Ok(())
    }
}

fn gone() -> Status {
    Status::unavailable("containerd has ended the stream: unavailable")
}

/// Content that is read here if it is here, and otherwise read and always written where the records are.
pub(super) struct Behind {
    here: Local,
    there: There,
}

impl Behind {
    pub(super) fn new(here: Local, there: There) -> Behind {
        Behind { here, there }
    }
}

impl Blobs for Behind {
    fn open(&self, digest: &Digest) -> Result<Opened, Fault> {
        self.here.open(digest).or_else(|_| self.there.open(digest))
    }

    fn create(&self, reference: &str) -> Result<Box<dyn BlobWriter>, Fault> {
        self.there.create(reference)
    }

    fn abort(&self, reference: &str) -> Result<(), Fault> {
        self.there.abort(reference)
    }

    fn add_label(&self, digest: &Digest, key: &str, value: &str) -> Result<(), Fault> {
        self.there.add_label(digest, key, value)
    }
}
