//! The read stream: a range of a blob, in chunks that are read while the last ones are sent.

use std::fs::File;
use std::io::IoSliceMut;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use transom_api::content::{ReadContentRequest, ReadContentResponse};
use transom_meta::{Class, names};

use super::backend::Who;
use super::{Shared, length};
use crate::answers::{Answers, Sink, answers, ready, send};
use crate::limits::{READ_AHEAD, READ_CHUNK_BYTES, SMALL_READ_BYTES};
use crate::services::blocking;
use crate::status;

/// Answers a read.
pub(super) async fn read(
    shared: Arc<Shared>,
    who: Who,
    request: ReadContentRequest,
) -> Result<Answers<ReadContentResponse>, Status> {
    let digest = names::digest(&request.digest)
        .map_err(|reason| Status::invalid_argument(format!("{}: {reason}", request.digest)))?;
    let place = Arc::clone(&shared.readers).acquire_owned().await;
    let place = place.map_err(|_| status::said(Class::Unavailable, "the daemon is stopping"))?;
    let blob = shared
        .backend
        .reader(&who, &digest)
        .await
        .map_err(|e| status::of(&e))?;
    let size = blob.size();
    // An offset before the start is one at the start.
    let offset = u64::try_from(request.offset).unwrap_or_default();
    if offset > size {
        return Err(Status::out_of_range(format!(
            "read past object length {size} bytes"
        )));
    }
    let all = size - offset;
    let left = match u64::try_from(request.size) {
        Ok(wanted @ 1..) => wanted.min(all),
        _ => all,
    };
    let file = blob.into_file();
    if left <= SMALL_READ_BYTES as u64
        && let Some(data) = cached(&file, offset, usize::try_from(left).unwrap_or_default())
    {
        shared.metrics.read(data.len());
        return Ok(ready(
            (!data.is_empty()).then_some(ReadContentResponse { offset: 0, data }),
        ));
    }
    let range = Range {
        file: Arc::new(file),
        offset,
        left,
        sent: 0,
        _place: place,
    };
    Ok(answers(READ_AHEAD, |sink| range.run(shared, sink)))
}

/// What is left of a range.
struct Range {
    file: Arc<File>,
    offset: u64,
    left: u64,
    sent: u64,
    _place: OwnedSemaphorePermit,
}

impl Range {
    async fn run(mut self, shared: Arc<Shared>, sink: Sink<ReadContentResponse>) -> Result<(), Status> {
        while self.left > 0 {
            let (file, offset) = (Arc::clone(&self.file), self.offset);
            let wanted = usize::try_from(self.left)
                .unwrap_or(usize::MAX)
                .min(READ_CHUNK_BYTES);
            let data = blocking(move || chunk(&file, offset, wanted)).await??;
            let bytes = data.len() as u64;
            let message = ReadContentResponse {
                offset: length(self.sent),
                data,
            };
            if !send(&sink, message).await {
                return Ok(());
            }
            shared.metrics.read(wanted);
            self.offset += bytes;
            self.sent += bytes;
            self.left -= bytes;
        }
        Ok(())
    }
}

/// Reads exactly so much if that needs no waiting for the disk.
fn cached(file: &File, offset: u64, wanted: usize) -> Option<Bytes> {
    if wanted == 0 {
        return Some(Bytes::new());
    }
    let mut buffer = vec![0; wanted];
    let read = preadv2(
        file,
        &mut [IoSliceMut::new(&mut buffer)],
        offset,
        ReadWriteFlags::NOWAIT,
    );
    (read == Ok(wanted)).then(|| Bytes::from(buffer))
}

/// Reads exactly so much.
fn chunk(file: &File, offset: u64, wanted: usize) -> Result<Bytes, Status> {
    let mut buffer = Vec::with_capacity(wanted);
    while buffer.len() < wanted {
        let at = offset + buffer.len() as u64;
        match pread(file, spare_capacity(&mut buffer), at) {
            Ok(0) => {
                let text = format!("the blob ends at byte {at}, before its end");
                return Err(status::said(Class::DataLoss, text));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Status::unknown(format!("cannot read the blob: {error}"))),
        }
    }
    buffer.truncate(wanted);
    Ok(Bytes::from(buffer))
}
