//! An answer: its head, and its body piece by piece with an end.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::{Response, Url};

use super::wire::{Trouble, host_of, trouble};
use crate::Error;

/// An answer whose body is still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    stall: Duration,
}

impl Answer {
    pub(crate) fn new(response: Response, stall: Duration) -> Answer {
        Answer { response, stall }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Where the answer came from, after redirects.
    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    /// A header as text; `None` if it is not there or is none.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Trouble> {
        let host = || host_of(self.response.url());
        let (stall, host) = (self.stall, host());
        match tokio::time::timeout(stall, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(trouble(&host, error)),
            Err(_) => Err(Trouble::Again {
                error: Error::Stalled { host, after: stall },
                after: None,
            }),
        }
    }

    /// The whole body.
    pub(crate) async fn read_all(&mut self, what: &str, limit: usize) -> Result<Bytes, Error> {
        let too_large = |answer: &Answer| Error::TooLarge {
            host: host_of(answer.url()),
            what: what.to_owned(),
            limit: limit as u64,
        };
        if self
            .response
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(too_large(self));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await.map_err(Trouble::into_error)? {
            if body.len() + chunk.len() > limit {
                return Err(too_large(self));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// As much of the body as can be had, up to a limit: for messages.
    pub(crate) async fn read_some(&mut self, limit: usize) -> Bytes {
        let mut body = BytesMut::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            let room = limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == limit {
                break;
            }
        }
        body.freeze()
    }
}
