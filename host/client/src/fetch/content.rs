//! The content store of `transom-content`: its calls block, so they are made on threads that may, a megabyte at a time and
//! beside the download of the next.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;
use transom_content::{Error, IngestOptions, Partial, Writer};
use transom_oci::Descriptor;

use super::store::{Ingest, Opening, Pending, Store, StoreError};
use crate::limits;

impl Store for transom_content::Store {
    fn identity(&self) -> String {
        self.root().display().to_string()
    }

    fn open<'a>(&'a self, reference: &'a str, descriptor: &'a Descriptor) -> Pending<'a, Opening> {
        Box::pin(open(self.clone(), reference.to_owned(), descriptor.clone(), None))
    }
}

/// Wants to read blobs while they come.
pub trait Follower: Send + Sync + fmt::Debug {
    /// A blob has begun to come, with so many bytes from earlier; it can be read along.
    fn begun(&self, blob: &Descriptor, partial: Partial, written: u64) -> Arc<dyn Follow>;
}

/// Is told how one blob comes.
pub trait Follow: Send + Sync {
    /// So many bytes of it are written.
    fn written(&self, bytes: u64);

    /// It is whole, and its digest right. May be said twice.
    fn whole(&self);

    /// What was written does not count any more, unless it is whole.
    fn lost(&self);
}

/// A content store whose blobs somebody reads along.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The store.
    pub store: transom_content::Store,
    /// Who reads along.
    pub follower: Arc<dyn Follower>,
}

impl Store for Followed {
    fn identity(&self) -> String {
        self.store.identity()
    }

    fn open<'a>(&'a self, reference: &'a str, descriptor: &'a Descriptor) -> Pending<'a, Opening> {
        let follower = Some(Arc::clone(&self.follower));
        Box::pin(open(
            self.store.clone(),
            reference.to_owned(),
            descriptor.clone(),
            follower,
        ))
    }
}

async fn open(
    store: transom_content::Store,
    reference: String,
    blob: Descriptor,
    follower: Option<Arc<dyn Follower>>,
) -> Result<Opening, StoreError> {
    let options = IngestOptions {
        total: Some(blob.size),
        expected: Some(blob.digest.clone()),
    };
    blocking(move || {
        let writer = match store.ingest(&reference, options) {
            Ok(writer) => writer,
            Err(Error::AlreadyExists { .. }) => return Ok(Opening::Present),
            Err(Error::Locked { .. }) => {
                let offset = store.status(&reference).map_or(0, |status| status.offset);
                return Ok(Opening::Busy { offset });
            }
            Err(error) => return Err(other(error)),
        };
        let offset = writer.offset();
        let partial = writer.partial().map_err(other)?;
        let follow = follower
            .filter(|_| offset <= blob.size)
            .zip(partial)
            .map(|(follower, partial)| follower.begun(&blob, partial, offset));
        Ok(Opening::Ready(Box::new(ContentIngest {
            offset,
            state: State::Idle(Box::new(writer)),
            gathered: Vec::new(),
            follow,
        })))
    })
    .await
}

/// An ingest, and the bytes that are not given to it yet.
struct ContentIngest {
    state: State,
    gathered: Vec<Bytes>,
    offset: u64,
    follow: Option<Arc<dyn Follow>>,
}

impl Drop for ContentIngest {
    fn drop(&mut self) {
        self.follow(|follow| follow.lost());
    }
}

enum State {
    Idle(Box<Writer>),
    /// Writing what was gathered before.
    Busy(JoinHandle<(Box<Writer>, Result<(), Error>)>),
    /// After a commit, a close, or a panic.
    Gone,
}

impl ContentIngest {
    fn follow(&self, tell: impl FnOnce(&dyn Follow)) {
        if let Some(follow) = &self.follow {
            tell(&**follow);
        }
    }

    /// The writer, when it has written what it was given.
    async fn idle(&mut self) -> Result<Box<Writer>, StoreError> {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Idle(writer) => Ok(writer),
            State::Busy(job) => {
                let (writer, result) = joined(job).await;
                if let Err(error) = result {
                    // What was written counts, what was not has to come again.
                    self.offset = writer.offset();
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
        let follow = self.follow.clone();
        self.state = State::Busy(tokio::task::spawn_blocking(move || {
            let result = chunks.iter().try_for_each(|chunk| writer.write(chunk));
            if let Some(follow) = follow {
                follow.written(writer.offset());
            }
            (writer, result)
        }));
        Ok(())
    }

    /// Writes everything, then does something else with the writer.
    async fn then<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut Writer) -> Result<T, Error> + Send + 'static,
    ) -> Result<Result<T, Error>, StoreError> {
        if !self.gathered.is_empty() {
            self.pass_on().await?;
        }
        let mut writer = self.idle().await?;
        let job = tokio::task::spawn_blocking(move || {
            let result = act(&mut writer);
            (writer, result)
        });
        let (writer, result) = joined(job).await;
        self.offset = writer.offset();
        self.state = State::Idle(writer);
        Ok(result)
    }

    fn gathered_bytes(&self) -> usize {
        self.gathered.iter().map(Bytes::len).sum()
    }
}

impl Ingest for ContentIngest {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            self.offset += bytes.len() as u64;
            self.gathered.push(bytes);
            if self.gathered_bytes() >= limits::STORE_BATCH {
                self.pass_on().await?;
            }
            Ok(())
        })
    }

    fn truncate(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.follow(|follow| follow.lost());
            self.follow = None;
            self.gathered.clear();
            self.then(|writer| writer.truncate(0)).await?.map_err(other)
        })
    }

    fn commit<'a>(&'a mut self, descriptor: &'a Descriptor) -> Pending<'a, ()> {
        let (size, digest) = (descriptor.size, descriptor.digest.clone());
        Box::pin(async move {
            let follow = self.follow.clone();
            let result = self
                .then(move |writer| {
                    // Those who read along need not wait for the disk.
                    if let Some(follow) = follow
                        && writer.offset() == size
                        && writer.digest() == digest
                    {
                        follow.whole();
                    }
                    Ok(writer.commit(Some(size), Some(&digest)))
                })
                .await?;
            match result.map_err(other)? {
                Ok(_) | Err(Error::AlreadyExists { .. }) => {
                    // A digest of another algorithm is known to be right only now.
                    if let Some(follow) = self.follow.take() {
                        follow.whole();
                    }
                    self.state = State::Gone;
                    Ok(())
                }
                Err(Error::DigestMismatch { actual, .. }) => Err(StoreError::Wrong { actual }),
                Err(error) => Err(other(error)),
            }
        })
    }

    fn close(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            if matches!(self.state, State::Gone) {
                return Ok(());
            }
            if !self.gathered.is_empty() {
                self.pass_on().await?;
            }
            let writer = self.idle().await?;
            blocking(move || writer.close().map_err(other)).await
        })
    }
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    joined(tokio::task::spawn_blocking(act)).await
}

async fn joined<T>(job: JoinHandle<T>) -> T {
    match job.await {
        Ok(value) => value,
        // Blocking tasks are not aborted: it panicked.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Other(error.into())
}
