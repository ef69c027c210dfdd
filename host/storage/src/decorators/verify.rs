//! Blobs are hashed while they are read, and what is not what its path says is an error.
//!
//! The path of a blob names its digest: `…/ALGORITHM/FIRST TWO/HEX/data`, as a registry lays them out. Everything else, and
//! reads that do not begin at the start, are passed on unseen. A reader gives no file any more: the kernel would send it
//! unseen too.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio_stream::Stream;
use transom_oci::{Digest, Hasher};

use super::intercept::{Call, Intercepted, Interceptor};
use crate::driver::{Capabilities, Pending};
use crate::reader::Chunks;
use crate::{Error, Reader, StorageDriver, StoragePath};

#[derive(Debug)]
struct Verify(String);

/// `inner` with its blobs verified.
#[must_use]
pub fn verified(inner: Arc<dyn StorageDriver>) -> Arc<dyn StorageDriver> {
    let name = inner.name().to_owned();
    Arc::new(Intercepted::new(inner, Arc::new(Verify(name))))
}

/// The digest that a path names.
fn digest(path: &StoragePath) -> Option<Digest> {
    let mut parts = path.as_str().rsplit('/');
    let (data, hex, two, algorithm) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let fits = data == "data" && hex.starts_with(two) && two.len() == 2;
    fits.then(|| format!("{algorithm}:{hex}").parse().ok()).flatten()
}

fn check(driver: &str, path: &StoragePath, expected: &Digest, actual: &Digest) -> Result<(), Error> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::Damaged {
        driver: driver.to_owned().into(),
        path: path.clone(),
        reason: format!("its bytes have the digest {actual}"),
    })
}

impl Interceptor for Verify {
    fn capabilities(&self, inner: Capabilities) -> Capabilities {
        Capabilities {
            local_files: false,
            ..inner
        }
    }

    fn once<'a, T: Send + 'a>(&'a self, _: Call<'a>, run: Pending<'a, T>) -> Pending<'a, T> {
        run
    }

    fn got(&self, path: &StoragePath, content: &Bytes) -> Result<(), Error> {
        let Some(expected) = digest(path) else {
            return Ok(());
        };
        let mut hasher = Hasher::new(expected.algorithm());
        hasher.update(content);
        check(&self.0, path, &expected, &hasher.finish())
    }

    fn reading(&self, reader: Reader, offset: u64) -> Reader {
        let path = reader.entry().path.clone();
        let Some(expected) = digest(&path).filter(|_| offset == 0) else {
            return reader.map_chunks(|chunks| chunks);
        };
        let driver = self.0.clone();
        reader.map_chunks(move |chunks| {
            Box::pin(Verified {
                chunks,
                hasher: Some(Hasher::new(expected.algorithm())),
                expected,
                driver,
                path,
            })
        })
    }
}

/// Chunks that end with an error if they are not what they should be.
struct Verified {
    chunks: Chunks,
    /// Gone at the end.
    hasher: Option<Hasher>,
    expected: Digest,
    driver: String,
    path: StoragePath,
}

impl Stream for Verified {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.chunks.as_mut().poll_next(context));
        Poll::Ready(match next {
            Some(Ok(chunk)) => {
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&chunk);
                }
                Some(Ok(chunk))
            }
            None => self.hasher.take().and_then(|hasher| {
                check(&self.driver, &self.path, &self.expected, &hasher.finish())
                    .err()
                    .map(Err)
            }),
            failed => failed,
        })
    }
}
