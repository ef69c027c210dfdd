//! Two sets of mounts as a layer, and the layer as a blob.

use std::io::{self, Write};
use std::num::NonZero;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use transom_layer::compare::{
    Changes, CompareError, CompareLimits, CompareOptions, CompareReport, compare as write,
};
use transom_layer::compress::Compression;
use transom_oci::Descriptor;
use transom_oci::media_type::LAYER_TAR_GZIP;

use crate::DiffError;
use crate::blobs::{BlobWriter, Blobs, Committed, Labels};
use crate::differ::CompareRequest;
use crate::fresh;
use crate::sides::{self, Mounted};
use crate::walking::Working;

/// The label with the digest of a blob's plain tar.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// Compares; see [`Differ::compare`](crate::Differ::compare).
pub(crate) fn compare(
    differ: &Working<'_>,
    blobs: &dyn Blobs,
    request: &CompareRequest<'_>,
) -> Result<Descriptor, DiffError> {
    let media_type = match request.media_type {
        "" => LAYER_TAR_GZIP,
        given => given,
    };
    let compression = Compression::of_media_type(media_type).ok_or_else(|| DiffError::NotImplemented {
        what: format!("unsupported diff media type: {media_type}"),
    })?;
    let work = Work {
        differ,
        blobs,
        request,
        compression,
        reference: request.reference.map_or_else(fresh, str::to_owned),
    };
    let blob = work.blob()?;
    Ok(Descriptor::new(compression.media_type(), blob.digest, blob.size))
}

/// One comparison.
struct Work<'a> {
    differ: &'a Working<'a>,
    blobs: &'a dyn Blobs,
    request: &'a CompareRequest<'a>,
    compression: Compression,
    reference: String,
}

impl Work<'_> {
    fn blob(&self) -> Result<CompareReport, DiffError> {
        let (left, right) = (self.request.left, self.request.right);
        if let Some(changes) = sides::unmounted(left, right)? {
            match self.written(changes) {
                Err(DiffError::Compare {
                    source: error @ CompareError::Cannot { .. },
                }) => {
                    tracing::debug!(%error, "the upper folder does not say all");
                }
                done => return done,
            }
        }
        let mounted = Mounted::mount(self.differ.temp, left, right)?;
        tracing::debug!(place = %mounted.place().display(), "comparing trees");
        let written = mounted.changes().and_then(|changes| self.written(changes));
        let unmounted = mounted.unmount();
        let written = written?;
        unmounted?;
        Ok(written)
    }

    /// Writes the changes and makes them a blob, or leaves nothing that nobody asked for.
    fn written(&self, changes: Changes) -> Result<CompareReport, DiffError> {
        let opened = self.blobs.create(&self.reference);
        let mut sink = Sink {
            writer: opened.map_err(|source| DiffError::Content {
                doing: "failed to open writer",
                source,
            })?,
        };
        let written = write(changes, &self.options(), &mut sink);
        let done = match written {
            Ok(report) => self.commit(sink.writer, &report).map(|()| report),
            Err(error) => {
                if let Err(error) = sink.writer.close() {
                    tracing::warn!(%error, reference = self.reference, "could not close an ingest");
                }
                Err(failed(error))
            }
        };
        if done.is_err()
            && self.request.reference.is_none()
            && let Err(error) = self.blobs.abort(&self.reference)
        {
            tracing::warn!(%error, reference = self.reference, "could not abort an ingest");
        }
        done
    }

    fn options(&self) -> CompareOptions {
        CompareOptions {
            source_date_epoch: self.request.source_date_epoch.map(seconds),
            compression: self.compression,
            limits: CompareLimits {
                entries: self.differ.settings.apply.entries,
                ..CompareLimits::default()
            },
            cancel: self.request.cancel.clone(),
            compressors: thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            pool: self.differ.pool.clone(),
            workers: self.differ.workers.clone(),
        }
    }

    fn commit(&self, writer: Box<dyn BlobWriter>, report: &CompareReport) -> Result<(), DiffError> {
        let failed = |doing| move |source| DiffError::Content { doing, source };
        let mut labels: Labels = self.request.labels.clone();
        let uncompressed = report.diff_id.to_string();
        let is_compressed = self.compression != Compression::None;
        if is_compressed {
            labels.insert(UNCOMPRESSED.to_owned(), uncompressed.clone());
        }
        let committed = writer.commit(report.size, &report.digest, &labels);
        if committed.map_err(failed("failed to commit"))? == Committed::There && is_compressed {
            let added = self.blobs.add_label(&report.digest, UNCOMPRESSED, &uncompressed);
            added.map_err(failed("error setting uncompressed label"))?;
        }
        Ok(())
    }
}

/// Whole seconds since 1970.
fn seconds(time: SystemTime) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => whole(after.as_secs()),
        Err(before) => {
            let before = before.duration();
            -whole(before.as_secs() + u64::from(before.subsec_nanos() > 0))
        }
    }
}

fn failed(error: CompareError) -> DiffError {
    match error {
        CompareError::Cancelled => DiffError::Cancelled,
        CompareError::Sink(error) => {
            // What was wrapped by the sink below is the store's own.
            let source = match error.downcast::<Boxed>() {
                Ok(Boxed(source)) => source,
                Err(error) => error.into(),
            };
            DiffError::Content {
                doing: "failed to write diff",
                source,
            }
        }
        source => DiffError::Compare { source },
    }
}

/// A blob in the making as something that can be written to.
struct Sink {
    writer: Box<dyn BlobWriter>,
}

/// A store's own error, to be found again behind an input or output error.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Boxed(crate::blobs::Fault);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(Bytes::copy_from_slice(bytes));
        written.map_err(|fault| io::Error::other(Boxed(fault)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_cut_to_seconds_towards_the_past() {
        let half = Duration::from_millis(1500);
        assert_eq!(seconds(UNIX_EPOCH + half), 1);
        assert_eq!(seconds(UNIX_EPOCH - half), -2);
        assert_eq!(seconds(UNIX_EPOCH), 0);
    }
}
