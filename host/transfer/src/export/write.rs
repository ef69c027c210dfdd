//! The archive itself: files in the order of their names, each blob verified on its way out.

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use transom_content::Blob;
use transom_meta::{Caller, Metadata};
use transom_oci::{Algorithm, Descriptor, Digest, Hasher};

use super::listing::{LAYOUT, blob_name};
use super::plan::Plan;
use super::tar;
use crate::bytes::ByteSink;
use crate::error::TransferError;
use crate::limits;
use crate::progress::{COMPLETE, Progress, ProgressSink, UPLOADING};

const FILE_MODE: u32 = 0o644;
const BLOB_MODE: u32 = 0o444;

/// Writes an archive.
pub(super) async fn write(
    metadata: &Metadata,
    caller: &Caller,
    plan: &Plan,
    archive: &mut dyn ByteSink,
    progress: &dyn ProgressSink,
) -> Result<(), TransferError> {
    let mut folders = tar::folder("blobs/");
    // Digests are in the order of their algorithms' names, and so are the folders.
    for algorithm in Algorithm::ALL {
        let is_its = |(blob, _): &&(Descriptor, Vec<String>)| blob.digest.algorithm() == algorithm;
        let blobs: Vec<_> = plan.blobs.values().filter(is_its).collect();
        if blobs.is_empty() {
            continue;
        }
        folders.extend(tar::folder(&format!("blobs/{algorithm}/")));
        archive.send(std::mem::take(&mut folders).into()).await?;
        for (blob, parents) in blobs {
            write_blob(metadata, caller, (blob, parents), archive, progress).await?;
        }
    }
    let mut rest = BytesMut::new();
    let docker = plan
        .docker
        .as_ref()
        .map(|docker| ("manifest.json", docker.as_slice(), FILE_MODE));
    let files = [
        Some(("index.json", &*plan.index, FILE_MODE)),
        docker,
        Some(("oci-layout", LAYOUT, BLOB_MODE)),
    ];
    for (name, bytes, mode) in files.into_iter().flatten() {
        let size = bytes.len() as u64;
        rest.extend_from_slice(&tar::file(name, mode, size));
        rest.extend_from_slice(bytes);
        rest.extend_from_slice(tar::padding(size));
    }
    rest.extend_from_slice(tar::end());
    Ok(archive.send(rest.freeze()).await?)
}

async fn write_blob(
    metadata: &Metadata,
    caller: &Caller,
    (blob, parents): (&Descriptor, &[String]),
    archive: &mut dyn ByteSink,
    progress: &dyn ProgressSink,
) -> Result<(), TransferError> {
    let size = blob.size;
    let reader = metadata.content_reader(caller, &blob.digest).await?;
    let header = tar::file(&blob_name(&blob.digest), BLOB_MODE, size);
    archive.send(header.into()).await?;
    let (chunks, mut read) = mpsc::channel(limits::CHUNKS_AHEAD);
    let digest = blob.digest.clone();
    let reading = tokio::task::spawn_blocking(move || self::read(&reader, &digest, size, &chunks));
    let (mut sent, mut told) = (0, 0);
    while let Some(chunk) = read.recv().await {
        sent += chunk.len() as u64;
        archive.send(chunk).await?;
        if sent - told >= limits::PROGRESS_BYTES {
            told = sent;
            progress.tell(Progress::of_blob(UPLOADING, blob, parents, sent));
        }
    }
    reading
        .await
        .map_err(|_| TransferError::Panicked { what: "a read" })??;
    let padding = tar::padding(size);
    if !padding.is_empty() {
        archive.send(Bytes::from_static(padding)).await?;
    }
    progress.tell(Progress::of_blob(COMPLETE, blob, parents, size));
    Ok(())
}

/// Reads a blob to its end; of the size that its header has said, and of its digest. Ends early if nobody takes the chunks.
fn read(blob: &Blob, digest: &Digest, size: u64, chunks: &mpsc::Sender<Bytes>) -> Result<(), TransferError> {
    let failed = |source| TransferError::Read {
        digest: digest.clone(),
        source,
    };
    let mut hasher = Hasher::new(digest.algorithm());
    let mut offset = 0;
    loop {
        let wanted = (size - offset).min(limits::CHUNK_BYTES as u64);
        let mut buffer = BytesMut::zeroed(usize::try_from(wanted).unwrap_or_default());
        let count = blob.read_at(&mut buffer, offset).map_err(failed)?;
        if count == 0 {
            break;
        }
        buffer.truncate(count);
        hasher.update(&buffer);
        offset += count as u64;
        if chunks.blocking_send(buffer.freeze()).is_err() {
            return Ok(());
        }
    }
    let actual = hasher.finish();
    if offset == size && actual == *digest {
        return Ok(());
    }
    let digest = digest.clone();
    Err(TransferError::Damaged { digest, actual })
}
