//! A blob as one stream that goes on after a cut: at the same host by Range, or at the next one.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderValue, Method, StatusCode};
use transom_oci::limits::CONFIG_BYTES_MAX;
use transom_oci::{Descriptor, Digest, Hasher, media_type};

use super::remote::{Remote, Tried, accept, accepting};
use super::urls::Place;
use crate::transport::retry::Backoff;
use crate::transport::wire::Trouble;
use crate::transport::{Answer, Call, Endpoint};
use crate::{Error, limits};

/// The bytes of a blob, or of a part of it, in their order. Dropping it ends the download.
#[derive(Debug)]
pub struct BlobReader {
    remote: Remote,
    descriptor: Descriptor,
    hosts: Vec<Place>,
    /// Which of the hosts is asked.
    at: usize,
    tried: Tried,
    backoff: Option<Backoff>,
    /// The next byte to come.
    position: u64,
    /// One past the last.
    end: u64,
    /// Where the last cut was.
    cut: u64,
    body: Option<Answer>,
    /// Bytes of the body that come before `position`, because the host knows no ranges.
    skip: u64,
    /// Whether this host answers ranges as it should, as far as is known.
    ranges: bool,
    hasher: Option<Hasher>,
}

impl Remote {
    /// Reads a blob, or a manifest named by its digest, and checks size and digest. An error at the end means that nothing of
    /// what came before counts.
    ///
    /// # Errors
    /// [`Error::NoHost`].
    pub fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        let mut reader = self.part(descriptor, 0, descriptor.size)?;
        reader.hasher = Some(Hasher::new(descriptor.digest.algorithm()));
        Ok(reader)
    }

    /// Reads a small blob, such as a configuration, whole.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::WrongDigest`], and those of the registry.
    pub async fn small_blob(&self, descriptor: &Descriptor) -> Result<Bytes, Error> {
        if descriptor.size > CONFIG_BYTES_MAX {
            return Err(Error::TooLarge {
                host: self.repository().registry().to_owned(),
                what: format!("blob {}", descriptor.digest),
                limit: CONFIG_BYTES_MAX,
            });
        }
        let mut reader = self.blob(descriptor)?;
        let mut bytes = bytes::BytesMut::new();
        while let Some(chunk) = reader.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// The bytes from `start` to before `end`, whose digest nobody checks here.
    ///
    /// # Errors
    /// [`Error::NoHost`].
    pub fn part(&self, descriptor: &Descriptor, start: u64, end: u64) -> Result<BlobReader, Error> {
        Ok(BlobReader {
            remote: self.clone(),
            descriptor: descriptor.clone(),
            hosts: self.places(descriptor)?,
            at: 0,
            tried: Tried::default(),
            backoff: None,
            position: start,
            end,
            cut: start,
            body: None,
            skip: 0,
            ranges: true,
            hasher: None,
        })
    }
}

impl BlobReader {
    /// The next bytes; `None` at the end, when size and digest are right.
    ///
    /// # Errors
    /// [`Error::WrongDigest`], [`Error::WrongSize`], [`Error::NotFound`] and the others of the last host that was tried.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.position == self.end {
                self.body = None;
                return self.verified().map(|()| None);
            }
            self.prepare().await?;
            let Some(body) = &mut self.body else {
                continue;
            };
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    if let Some(chunk) = self.take(chunk) {
                        return Ok(Some(chunk));
                    }
                }
                Ok(None) => {
                    let error = Error::Unreachable {
                        host: self.host().label().to_owned(),
                        reason: format!("the answer ended at byte {} of {}", self.position, self.end),
                    };
                    self.failed(Trouble::Again { error, after: None }).await?;
                }
                Err(trouble) => self.failed(trouble).await?,
            }
        }
    }

    /// Has an answer ready to be read. Whether it is just the range that was asked for: if not, the whole blob is coming.
    pub(crate) async fn prepare(&mut self) -> Result<bool, Error> {
        while self.body.is_none() && self.position < self.end {
            match self.open().await {
                Ok(()) => {}
                Err(trouble) => self.failed(trouble).await?,
            }
        }
        Ok(self.ranges)
    }

    /// Makes the end another one: the whole blob is coming anyway.
    pub(crate) fn extend(&mut self, end: u64) {
        self.end = end;
    }

    pub(crate) fn host(&self) -> &Arc<Endpoint> {
        &self.place().endpoint
    }

    fn place(&self) -> &Place {
        &self.hosts[self.at.min(self.hosts.len() - 1)]
    }

    /// What of a chunk is wanted.
    fn take(&mut self, mut chunk: Bytes) -> Option<Bytes> {
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        // Both fit: they are at most the chunk's length.
        let _ = chunk.split_to(usize::try_from(skipped).unwrap_or(chunk.len()));
        let left = self.end - self.position;
        if chunk.len() as u64 > left {
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        if chunk.is_empty() {
            return None;
        }
        self.position += chunk.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        Some(chunk)
    }

    fn verified(&mut self) -> Result<(), Error> {
        let Some(hasher) = &self.hasher else {
            return Ok(());
        };
        let actual = hasher.clone().finish();
        if actual == self.descriptor.digest {
            return Ok(());
        }
        Err(Error::WrongDigest {
            host: self.host().label().to_owned(),
            expected: self.descriptor.digest.clone(),
            actual,
        })
    }

    /// Waits and stays with the host, or goes to the next.
    async fn failed(&mut self, trouble: Trouble) -> Result<(), Error> {
        self.body = None;
        let host = Arc::clone(self.host());
        let backoff = self.backoff.get_or_insert_with(|| host.backoff());
        if self.position - self.cut >= limits::PROGRESS_BYTES {
            backoff.reset();
            self.cut = self.position;
        }
        let Err(error) = backoff.wait(trouble).await else {
            return Ok(());
        };
        self.tried.add(&host, error)?;
        self.at += 1;
        self.backoff = None;
        self.ranges = true;
        if self.at < self.hosts.len() {
            return Ok(());
        }
        self.at = 0;
        Err(std::mem::take(&mut self.tried).into_error())
    }

    async fn open(&mut self) -> Result<(), Trouble> {
        let endpoint = Arc::clone(self.host());
        let call = self.request(&endpoint).await;
        let call = call.map_err(|error| Trouble::Again { error, after: None })?;
        let asked = call.headers.contains_key(RANGE);
        let wanted = [
            StatusCode::OK,
            StatusCode::PARTIAL_CONTENT,
            StatusCode::RANGE_NOT_SATISFIABLE,
        ];
        let answer = endpoint.once(&call, &wanted).await?;
        self.take_answer(answer, asked).map_err(Trouble::Never)
    }

    /// The request for what is still to come.
    async fn request(&self, endpoint: &Endpoint) -> Result<Call, Error> {
        let (kind, digest) = (&self.descriptor.media_type, &self.descriptor.digest);
        let folder = if media_type::is_index(kind) || media_type::is_manifest(kind) {
            "manifests"
        } else {
            "blobs"
        };
        let url = match &self.place().url {
            Some(url) => url.clone(),
            None => {
                let path = format!("{folder}/{digest}");
                self.remote.url(endpoint, &path, &[]).await?
            }
        };
        let what = format!("{digest} of {}", self.remote.repository());
        let call = accepting(self.remote.read(Method::GET, url, what), accept(kind));
        let partial = self.position > 0 || self.end < self.descriptor.size;
        let range = format!("bytes={}-{}", self.position, self.end.saturating_sub(1));
        Ok(match HeaderValue::from_str(&range) {
            Ok(range) if partial && self.ranges => call.header(RANGE, range),
            _ => call,
        })
    }

    /// Looks at what a host answered. Without a body after it, the next request asks for no range.
    fn take_answer(&mut self, answer: Answer, asked: bool) -> Result<(), Error> {
        let (digest, size) = (&self.descriptor.digest, self.descriptor.size);
        match answer.status() {
            StatusCode::OK => {
                whole_length(&answer, digest, size)?;
                self.ranges &= !asked;
                self.skip = self.position;
                self.body = Some(answer);
            }
            StatusCode::PARTIAL_CONTENT if asked => match range_of(&answer) {
                Some((_, _, Some(total))) if total != size => {
                    return Err(wrong_size(&answer, digest, size, total));
                }
                Some((start, end, _)) if start == self.position && end <= self.end && start < end => {
                    self.skip = 0;
                    self.body = Some(answer);
                }
                _ => self.ranges = false,
            },
            StatusCode::RANGE_NOT_SATISFIABLE if asked => self.ranges = false,
            status => {
                let status = status.as_u16();
                return Err(Error::Protocol {
                    host: self.host().label().to_owned(),
                    reason: format!("it answers {status} to a request for the whole of {digest}"),
                });
            }
        }
        Ok(())
    }
}

/// The length of a whole answer must be the blob's, if it is said.
fn whole_length(answer: &Answer, digest: &Digest, size: u64) -> Result<(), Error> {
    let length = answer
        .header(CONTENT_LENGTH)
        .and_then(|text| text.trim().parse().ok());
    match length {
        Some(length) if length != size => Err(wrong_size(answer, digest, size, length)),
        _ => Ok(()),
    }
}

fn wrong_size(answer: &Answer, digest: &Digest, expected: u64, actual: u64) -> Error {
    Error::WrongSize {
        host: crate::transport::wire::host_of(answer.url()),
        digest: digest.clone(),
        expected,
        actual,
    }
}

/// `Content-Range: bytes 5-9/100`: the first byte, one past the last, and the whole length if it is said.
fn range_of(answer: &Answer) -> Option<(u64, u64, Option<u64>)> {
    parse_range(answer.header(CONTENT_RANGE)?)
}

fn parse_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    let last: u64 = last.trim().parse().ok()?;
    Some((first.trim().parse().ok()?, last.checked_add(1)?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("bytes 5-9/100"), Some((5, 10, Some(100))));
        assert_eq!(parse_range("bytes 0-0/*"), Some((0, 1, None)));
        for text in [
            "",
            "bytes",
            "bytes */100",
            "bytes 5-/9",
            "bytes -5/9",
            "items 1-2/3",
            "bytes 1-2",
            "bytes 0-18446744073709551615/1",
        ] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }
}
