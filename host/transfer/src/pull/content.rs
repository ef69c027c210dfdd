//! The content of a namespace, as what a client fetches into. Whoever unpacks is told of each blob that can be read along.

use bytes::Bytes;
use tokio::task::JoinHandle;
use transom_client::Repository;
use transom_client::fetch::store::{Ingest, Opening, Pending, Store, StoreError};
use transom_content::Error as ContentError;
use transom_meta::content::Writer;
use transom_meta::metadata::Sharing;
use transom_meta::{Caller, Error, Labels, Metadata};
use transom_oci::Descriptor;

use crate::arriving::Arriving;
use crate::error::TransferError;
use crate::unpack::arrivals::Arrivals;
use crate::{limits, reference};

/// The content of a caller's namespace, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Content {
    metadata: Metadata,
    caller: Caller,
    /// The label that says from where a blob is.
    source: (String, String),
    pub(super) arrivals: Arrivals,
}

impl Content {
    pub(super) fn new(
        metadata: &Metadata,
        caller: &Caller,
        from: &Repository,
        arrivals: &Arrivals,
    ) -> Content {
        let key = format!("{}{}", reference::SOURCE, from.registry());
        Content {
            metadata: metadata.clone(),
            caller: caller.clone(),
            source: (key, from.path().to_owned()),
            arrivals: arrivals.clone(),
        }
    }

    /// Notes that a blob that was here can be had from this repository as well.
    pub(super) async fn add_source(&self, blob: &Descriptor) -> Result<(), TransferError> {
        let (key, repository) = &self.source;
        let has = self
            .metadata
            .content_info(&self.caller, &blob.digest)
            .await?
            .labels;
        let before = has.get(key).map_or("", String::as_str);
        let mut all: Vec<&str> = before.split(',').filter(|text| !text.is_empty()).collect();
        if all.contains(&repository.as_str()) {
            return Ok(());
        }
        all.push(repository);
        all.sort_unstable();
        let value = all.join(",");
        if key.len() + value.len() > limits::LABEL_BYTES {
            // It is a help and nothing more.
            return Ok(());
        }
        let labels = Labels::from([(key.clone(), value)]);
        let paths = [format!("labels.{key}")];
        self.metadata
            .content_update(&self.caller, &blob.digest, labels, &paths)
            .await?;
        Ok(())
    }

    async fn open(&self, reference: &str, blob: &Descriptor) -> Result<Opening, StoreError> {
        let opened = self
            .metadata
            .ingest(&self.caller, reference, Some(blob.size), Some(&blob.digest));
        let writer = match opened.await {
            Ok(writer) => writer,
            Err(Error::AlreadyExists { .. }) => return Ok(Opening::Present),
            Err(Error::Content(ContentError::Locked { .. })) => {
                let status = self.metadata.ingest_status(&self.caller, reference).await;
                let offset = status.map_or(0, |status| status.offset);
                return Ok(Opening::Busy { offset });
            }
            Err(error) => return Err(other(error)),
        };
        let offset = writer.status().map_err(other)?.offset;
        let partial = writer.partial().map_err(other)?;
        let arriving = partial.map(|partial| Arriving::new(partial, offset));
        if let Some(arriving) = arriving.as_ref().filter(|_| offset <= blob.size) {
            self.arrivals.begun(&blob.digest, arriving);
        }
        Ok(Opening::Ready(Box::new(Filling {
            state: State::Idle(writer),
            gathered: Vec::new(),
            offset,
            arriving,
            labels: Labels::from([self.source.clone()]),
        })))
    }
}

impl Store for Content {
    fn identity(&self) -> String {
        match self.metadata.sharing() {
            // A blob that one namespace is fetching comes to the others without its bytes.
            Sharing::Shared => "content".to_owned(),
            Sharing::Isolated => format!("content of {}", self.caller.namespace),
        }
    }

    fn open<'a>(&'a self, reference: &'a str, blob: &'a Descriptor) -> Pending<'a, Opening> {
        Box::pin(self.open(reference, blob))
    }
}

/// An ingest that is being filled, beside the download of what comes next.
struct Filling {
    state: State,
    gathered: Vec<Bytes>,
    /// With what is gathered.
    offset: u64,
    /// For those who read along; none where no bytes come.
    arriving: Option<Arriving>,
    labels: Labels,
}

enum State {
    Idle(Writer),
    /// Writing what was gathered before.
    Busy(JoinHandle<(Writer, Result<(), Error>)>),
    /// After a commit, a close, or a panic.
    Gone,
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.lose();
    }
}

impl Filling {
    /// The writer, when it has written what it was given.
    async fn idle(&mut self) -> Result<Writer, StoreError> {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Idle(writer) => Ok(writer),
            State::Busy(job) => {
                // Nobody aborts it: without a result it has panicked.
                let (writer, written) = job.await.map_err(other)?;
                if let Err(error) = written {
                    // What was written counts, what was not has to come again.
                    self.offset = writer.status().map_err(other)?.offset;
                    self.gathered.clear();
                    self.state = State::Idle(writer);
                    return Err(other(error));
                }
                Ok(writer)
            }
            State::Gone => Err(other("the ingest is closed")),
        }
    }

    /// Gives what is gathered to the writer, and does not wait for it.
    async fn pass_on(&mut self) -> Result<(), StoreError> {
        let mut writer = self.idle().await?;
        let chunks = std::mem::take(&mut self.gathered);
        let arriving = self.arriving.clone();
        self.state = State::Busy(tokio::spawn(async move {
            let written = writer.write_all(chunks).await;
            if let (Some(arriving), Ok(status)) = (arriving, writer.status()) {
                arriving.written(status.offset);
            }
            (writer, written)
        }));
        Ok(())
    }

    /// The writer, when it has written everything.
    async fn settled(&mut self) -> Result<Writer, StoreError> {
        if !self.gathered.is_empty() {
            self.pass_on().await?;
        }
        self.idle().await
    }

    fn lose(&self) {
        if let Some(arriving) = &self.arriving {
            arriving.lost();
        }
    }

    fn whole(&self) {
        if let Some(arriving) = &self.arriving {
            arriving.whole();
        }
    }

    async fn commit_all(&mut self, blob: &Descriptor) -> Result<(), StoreError> {
        let mut writer = self.settled().await?;
        let is_right = writer.digest().is_ok_and(|digest| digest == blob.digest);
        if is_right && self.offset == blob.size {
            // Those who read along need not wait for the disk.
            self.whole();
        }
        let labels = self.labels.clone();
        let committed = writer.commit(Some(blob.size), Some(&blob.digest), labels).await;
        match committed {
            Ok(_) | Err(Error::AlreadyExists { .. }) => {
                self.whole();
                Ok(())
            }
            Err(error) => {
                self.state = State::Idle(writer);
                match error {
                    Error::Content(ContentError::DigestMismatch { actual, .. }) => {
                        Err(StoreError::Wrong { actual })
                    }
                    error => Err(other(error)),
                }
            }
        }
    }
}

impl Ingest for Filling {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            self.offset += bytes.len() as u64;
            self.gathered.push(bytes);
            let gathered: usize = self.gathered.iter().map(Bytes::len).sum();
            // What the writer is waiting for anyway need not wait to become more.
            let idle = match &self.state {
                State::Busy(job) => job.is_finished(),
                _ => true,
            };
            if gathered >= limits::FETCH_BATCH || idle && gathered >= limits::FETCH_BATCH_LEAST {
                self.pass_on().await?;
            }
            Ok(())
        })
    }

    fn truncate(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.lose();
            self.arriving = None;
            self.gathered.clear();
            let mut writer = self.idle().await?;
            let truncated = writer.truncate().await;
            self.state = State::Idle(writer);
            truncated.map_err(other)?;
            self.offset = 0;
            Ok(())
        })
    }

    fn commit<'a>(&'a mut self, blob: &'a Descriptor) -> Pending<'a, ()> {
        Box::pin(self.commit_all(blob))
    }

    fn close(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            if matches!(self.state, State::Gone) {
                return Ok(());
            }
            let writer = self.settled().await?;
            self.lose();
            writer.close().await.map_err(other)
        })
    }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Other(error.into())
}
