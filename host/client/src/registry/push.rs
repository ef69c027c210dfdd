//! Uploads: only what the registry lacks, from another repository of it where it can, and on from where a cut left it.

use std::sync::Arc;

use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;
use transom_oci::{Descriptor, Digest};

use super::remote::{Remote, digest_of};
use crate::auth::scope::Scopes;
use crate::transport::wire::Trouble;
use crate::transport::{Answer, Call, Endpoint, Payload, Upload};
use crate::{Error, Repository, limits};

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The registry had it.
    Present,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was uploaded.
    Uploaded,
}

/// How a blob goes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upwards {
    /// In one piece: small blobs by one PUT, others by a PATCH that can be gone on with.
    #[default]
    Auto,
    /// By one PUT, whatever the size. After a cut it begins anew.
    Monolithic,
    /// By PATCHes of at most so many bytes, or of what the registry asks for if that is more.
    Chunked(u64),
}

/// Is told how many bytes the registry has.
pub type Watch<'a> = dyn Fn(u64) + Send + Sync + 'a;

/// An upload that the registry has open.
#[derive(Debug)]
struct Session {
    location: Url,
    /// Bytes that the registry has.
    offset: u64,
    /// The least that it takes in one PATCH.
    chunk_min: u64,
}

/// What is uploaded, and to where.
struct Job<'a> {
    remote: &'a Remote,
    endpoint: Arc<Endpoint>,
    descriptor: &'a Descriptor,
    source: Arc<dyn Upload>,
    watch: &'a Watch<'a>,
    scopes: Scopes,
    what: String,
}

impl Remote {
    /// Whether the repository has a blob, and of this size.
    ///
    /// # Errors
    /// Those of the registry, but [`Error::NotFound`].
    pub async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        let endpoint = self.target()?;
        match self.blob_size_at(&endpoint, &descriptor.digest).await {
            Ok(size) => Ok(size == descriptor.size),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Brings a blob to the registry. `from` are repositories of the same registry that may have it: the registry is asked to
    /// take it from there. Dropping it leaves the upload for the registry to clear away.
    ///
    /// # Errors
    /// [`Error::Source`] if it cannot be read, [`Error::WrongDigest`] if the registry says that it has other bytes, and those
    /// of the registry.
    pub async fn push_blob(
        &self,
        descriptor: &Descriptor,
        source: Arc<dyn Upload>,
        from: &[Repository],
        upwards: Upwards,
        watch: &Watch<'_>,
    ) -> Result<Pushed, Error> {
        if self.has_blob(descriptor).await? {
            return Ok(Pushed::Present);
        }
        let mut job = Job {
            remote: self,
            endpoint: self.target()?,
            descriptor,
            source,
            watch,
            scopes: self.push_scope(),
            what: format!("upload of {} to {}", descriptor.digest, self.repository()),
        };
        let mut session = None;
        let same = |other: &&Repository| {
            other.registry() == self.repository().registry() && *other != self.repository()
        };
        for other in from.iter().filter(same) {
            match job.mount(other).await {
                Ok(None) => return Ok(Pushed::Mounted),
                Ok(Some(begun)) => {
                    session = Some(begun);
                    break;
                }
                // Not allowed to read there: then as if it were not there.
                Err(error) => tracing::debug!(%other, %error, "cannot mount"),
            }
        }
        job.upload(session, upwards).await.map(|()| Pushed::Uploaded)
    }
}

impl Job<'_> {
    /// Asks to take the blob from another repository; if the registry does not, it has begun an upload.
    async fn mount(&mut self, other: &Repository) -> Result<Option<Session>, Error> {
        let query = [("mount", self.descriptor.digest.as_str()), ("from", other.path())];
        let url = self.remote.url(&self.endpoint, "blobs/uploads/", &query).await?;
        let scopes = self.scopes.clone().with(&Scopes::pull(other));
        let call = Call::new(Method::POST, url, scopes, self.what.clone());
        let wanted = [StatusCode::CREATED, StatusCode::ACCEPTED];
        let answer = self.endpoint.send(&call, &wanted).await?;
        if answer.status() == StatusCode::CREATED {
            self.named_right(&answer)?;
            return Ok(None);
        }
        self.begun(&answer).await.map(Some)
    }

    /// Uploads, and begins anew where the registry has forgotten an upload.
    async fn upload(&self, mut session: Option<Session>, upwards: Upwards) -> Result<(), Error> {
        let mut backoff = self.endpoint.backoff();
        (self.watch)(0);
        loop {
            let mut open = match session.take() {
                Some(open) => open,
                None => self.begin().await?,
            };
            match self.run(&mut open, upwards).await {
                Ok(()) => return Ok(()),
                Err(trouble @ Trouble::Again { .. }) => backoff.wait(trouble).await?,
                Err(Trouble::Never(error)) => {
                    self.cancel(&open).await;
                    return Err(error);
                }
            }
        }
    }

    async fn begin(&self) -> Result<Session, Error> {
        let url = self.remote.url(&self.endpoint, "blobs/uploads/", &[]).await?;
        let call = Call::new(Method::POST, url, self.scopes.clone(), self.what.clone());
        let answer = self.endpoint.send(&call, &[StatusCode::ACCEPTED]).await?;
        self.begun(&answer).await
    }

    async fn begun(&self, answer: &Answer) -> Result<Session, Error> {
        let location = self.location(answer).await?.ok_or_else(|| Error::Protocol {
            host: self.endpoint.label().to_owned(),
            reason: "it begins an upload without saying where (Location)".to_owned(),
        })?;
        let chunk_min = answer
            .header("oci-chunk-min-length")
            .and_then(|text| text.trim().parse().ok());
        Ok(Session {
            location,
            offset: 0,
            chunk_min: chunk_min.unwrap_or(0).min(limits::CHUNK_MIN_MAX),
        })
    }

    async fn location(&self, answer: &Answer) -> Result<Option<Url>, Error> {
        match answer.header(LOCATION) {
            Some(text) => self.endpoint.location(answer.url(), text).await.map(Some),
            None => Ok(None),
        }
    }

    /// One upload to its end. With `Trouble::Again` the registry has lost it.
    async fn run(&self, open: &mut Session, upwards: Upwards) -> Result<(), Trouble> {
        let size = self.descriptor.size;
        let monolithic = match upwards {
            Upwards::Monolithic => true,
            Upwards::Auto => size <= limits::MONOLITHIC_BYTES,
            Upwards::Chunked(_) => false,
        };
        if monolithic {
            return self.finish(open, 0, size).await;
        }
        let chunk = match upwards {
            Upwards::Chunked(bytes) => bytes.max(open.chunk_min).max(1),
            _ => size,
        };
        // Of its own: what goes on here does not make up for uploads that are lost at the end, again and again.
        let mut backoff = self.endpoint.backoff();
        while open.offset < size {
            let before = open.offset;
            let length = chunk.min(size - before);
            if let Err(trouble) = self.patch(open, length).await {
                let trouble = self.resumable(trouble)?;
                backoff.wait(trouble).await.map_err(Trouble::Never)?;
                self.status(open).await?;
            }
            if open.offset.saturating_sub(before) >= limits::PROGRESS_BYTES {
                backoff.reset();
            }
            (self.watch)(open.offset);
        }
        self.finish(open, size, 0).await
    }

    /// What may be gone on from, by asking how far the registry is. The outer error ends this upload.
    fn resumable(&self, trouble: Trouble) -> Result<Trouble, Trouble> {
        match trouble {
            // Out of step: the registry knows better how far it is.
            Trouble::Never(Error::Status { status: 416, .. }) => Ok(Trouble::Again {
                error: out_of_step(&self.endpoint),
                after: None,
            }),
            // Forgotten, or no longer to be gone on with: docker-registry 2 says so when it has kept a part.
            Trouble::Never(error @ Error::NotFound { .. }) => Err(Trouble::Again { error, after: None }),
            Trouble::Never(error) => Err(Trouble::Never(error)),
            again => Ok(again),
        }
    }

    /// Sends a chunk.
    async fn patch(&self, open: &mut Session, length: u64) -> Result<(), Trouble> {
        let (first, last) = (open.offset, open.offset + length - 1);
        let call = Call::new(
            Method::PATCH,
            open.location.clone(),
            self.scopes.clone(),
            self.what.clone(),
        )
        .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .header(CONTENT_RANGE, text(&format!("{first}-{last}")))
        .payload(self.part(first, length));
        let answer = self.endpoint.once(&call, &[StatusCode::ACCEPTED]).await?;
        if let Some(location) = self.location(&answer).await.map_err(Trouble::Never)? {
            open.location = location;
        }
        // Some registries say less than they have; then the status tells.
        open.offset = match end_of(&answer) {
            Some(end) if end <= last + 1 && end > first => end,
            Some(_) => {
                self.status(open).await?;
                open.offset
            }
            None => last + 1,
        };
        Ok(())
    }

    /// Asks how far the registry is. `Trouble::Again` if it has forgotten the upload.
    async fn status(&self, open: &mut Session) -> Result<(), Trouble> {
        let call = Call::new(
            Method::GET,
            open.location.clone(),
            self.scopes.clone(),
            self.what.clone(),
        );
        let wanted = [StatusCode::NO_CONTENT, StatusCode::OK, StatusCode::ACCEPTED];
        let answer = self.endpoint.send(&call, &wanted).await;
        let answer = answer.map_err(|error| Trouble::Again { error, after: None })?;
        if let Some(location) = self.location(&answer).await.map_err(Trouble::Never)? {
            open.location = location;
        }
        // `0-0` is none or one byte; one byte too few is sent again, which costs nothing but a refusal.
        open.offset = match end_of(&answer) {
            None | Some(1) => 0,
            Some(end) if end <= self.descriptor.size => end,
            Some(_) => {
                let error = out_of_step(&self.endpoint);
                return Err(Trouble::Again { error, after: None });
            }
        };
        (self.watch)(open.offset);
        Ok(())
    }

    /// The last request, with the digest and maybe all bytes.
    async fn finish(&self, open: &Session, offset: u64, length: u64) -> Result<(), Trouble> {
        let mut url = open.location.clone();
        url.query_pairs_mut()
            .append_pair("digest", self.descriptor.digest.as_str());
        let payload = if length > 0 {
            self.part(offset, length)
        } else {
            Payload::Empty
        };
        let call = Call::new(Method::PUT, url, self.scopes.clone(), self.what.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .payload(payload);
        let sent = self
            .endpoint
            .once(&call, &[StatusCode::CREATED, StatusCode::NO_CONTENT])
            .await;
        match sent {
            Ok(answer) => {
                self.named_right(&answer).map_err(Trouble::Never)?;
                (self.watch)(self.descriptor.size);
                Ok(())
            }
            // Perhaps it was done, and only the answer was lost.
            Err(Trouble::Again { error, after }) => match self.remote.has_blob(self.descriptor).await {
                Ok(true) => Ok(()),
                _ => Err(Trouble::Again { error, after }),
            },
            Err(Trouble::Never(error @ Error::NotFound { .. })) => Err(Trouble::Again { error, after: None }),
            Err(trouble) => Err(trouble),
        }
    }

    fn part(&self, offset: u64, length: u64) -> Payload {
        Payload::Part {
            source: Arc::clone(&self.source),
            offset,
            length,
        }
    }

    /// The registry may name the blob by another algorithm, but not by another digest of ours.
    fn named_right(&self, answer: &Answer) -> Result<(), Error> {
        let expected: &Digest = &self.descriptor.digest;
        match digest_of(answer) {
            Some(actual) if actual.algorithm() == expected.algorithm() && actual != *expected => {
                Err(Error::WrongDigest {
                    host: self.endpoint.label().to_owned(),
                    expected: expected.clone(),
                    actual,
                })
            }
            _ => Ok(()),
        }
    }

    /// Tells the registry that nothing more comes. It clears away by itself what is left.
    async fn cancel(&self, open: &Session) {
        let call = Call::new(
            Method::DELETE,
            open.location.clone(),
            self.scopes.clone(),
            self.what.clone(),
        );
        if let Err(trouble) = self.endpoint.once(&call, &[StatusCode::NO_CONTENT]).await {
            tracing::debug!(error = %trouble.into_error(), "could not cancel an upload");
        }
    }
}

/// The end of `Range: 0-99`, one past the last byte.
fn end_of(answer: &Answer) -> Option<u64> {
    let text = answer.header(RANGE)?.trim();
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let (first, last) = text.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last: u64 = last.parse().ok()?;
    (first == 0).then_some(last.checked_add(1)?)
}

fn out_of_step(endpoint: &Endpoint) -> Error {
    Error::Protocol {
        host: endpoint.label().to_owned(),
        reason: "it has other bytes of an upload than were sent".to_owned(),
    }
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
