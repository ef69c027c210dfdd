//! The body of a request, as chunks that are worth a hand-over, with patience that ends.

use std::fmt;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use crate::store::OpenUpload;
use crate::{Error, limits};

type Inner = Pin<Box<dyn Body<Data = Bytes, Error = Box<dyn std::error::Error + Send + Sync>> + Send>>;

/// The body of a request.
pub(super) struct Incoming {
    inner: Inner,
    /// What was not handed out yet.
    rest: Option<Bytes>,
    /// An error that was not told yet.
    failed: Option<Error>,
}

impl Incoming {
    pub(super) fn new<B>(body: B) -> Incoming
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Incoming {
            inner: Box::pin(body.map_err(Into::into)),
            rest: None,
            failed: None,
        }
    }

    /// How long it is, if the head says so.
    pub(super) fn announced(&self) -> Option<u64> {
        self.inner.size_hint().exact()
    }

    /// What comes next; `None` at the end.
    async fn frame(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            let frame = tokio::time::timeout(limits::BODY_PATIENCE, self.inner.frame());
            let Some(frame) = frame.await.map_err(|_| Error::BodyTooSlow)? else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| Error::BodyBroken(error.to_string()))?;
            // Trailers say nothing here.
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
    }

    /// Up to [`limits::UPLOAD_CHUNK`] bytes, or what comes in one piece; `None` at the end. What came before an error is given
    /// first.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(first) = self.frame().await? else {
            return Ok(None);
        };
        if first.len() >= limits::UPLOAD_CHUNK / 2 {
            return Ok(Some(first));
        }
        let mut chunk = BytesMut::with_capacity(limits::UPLOAD_CHUNK);
        chunk.extend_from_slice(&first);
        loop {
            match self.frame().await {
                Ok(Some(next)) if chunk.len() + next.len() <= limits::UPLOAD_CHUNK => {
                    chunk.extend_from_slice(&next);
                }
                Ok(Some(next)) => {
                    self.rest = Some(next);
                    break;
                }
                Ok(None) => break,
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok(Some(chunk.freeze()))
    }

    /// Appends all of it to an upload; one chunk is written while the next one comes. Gives how many bytes there were, which are
    /// in the upload also if it breaks off.
    pub(super) async fn pour(&mut self, upload: &mut OpenUpload, most: u64) -> Result<u64, Error> {
        let mut poured = 0;
        let mut next = self.chunk().await?;
        while let Some(chunk) = next {
            let found = poured + chunk.len() as u64;
            if found > most {
                return Err(Error::SizeMismatch {
                    announced: most,
                    found,
                });
            }
            poured = found;
            let (appended, following) = tokio::join!(upload.append(chunk), self.chunk());
            appended?;
            next = following?;
        }
        Ok(poured)
    }

    /// Reads what nobody wanted, if it is little, so that the connection can go on, and the client reads the answer before it
    /// sees the end of it.
    pub(super) async fn finish(&mut self) {
        let mut left = limits::UNWANTED;
        if self.announced().is_some_and(|length| length > left) {
            return;
        }
        let read = async {
            while let Ok(Some(chunk)) = self.frame().await {
                left = left.saturating_sub(chunk.len() as u64);
                if left == 0 {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(limits::UNWANTED_PATIENCE, read).await);
    }

    /// All of it, of `limit` bytes at most.
    pub(super) async fn whole(&mut self, limit: u64) -> Result<Bytes, Error> {
        let too_large = || Error::ManifestTooLarge { limit };
        if self.announced().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        while let Some(next) = self.frame().await? {
            if (whole.len() + next.len()) as u64 > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&next);
        }
        Ok(whole.freeze())
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("announced", &self.announced())
            .finish_non_exhaustive()
    }
}
