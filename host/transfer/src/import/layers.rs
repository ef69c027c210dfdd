//! The layers of an archive without manifests: told by their bytes, found compressed in the store, or compressed now.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use transom_image::source::spool::{Compression, MAGIC_BYTES, sniff};
use transom_meta::filter::{Filters, Plugins};
use transom_meta::{Caller, Error, Labels, Metadata, leases};
use transom_oci::{Descriptor, Digest, media_type};

use super::receive::Stored;
use crate::error::TransferError;
use crate::limits;

/// The label of a blob that says what it is uncompressed.
pub(crate) const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// Descriptors of layers, in order. A plain layer that the store has compressed becomes that one.
pub(super) async fn describe(
    metadata: &Metadata,
    caller: &Caller,
    files: &[Stored],
    diff_ids: &[Digest],
    compress: bool,
) -> Result<Vec<Descriptor>, TransferError> {
    let mut layers = Vec::new();
    let known = compressed(metadata, caller, files).await?;
    for (at, file) in files.iter().enumerate() {
        let found = known.iter().rev().find(|(plain, _)| *plain == file.digest);
        let blob = found.map_or(file, |(_, compressed)| compressed);
        if found.is_some() {
            hold(metadata, caller, &blob.digest).await?;
        }
        let kind = kind(metadata, caller, &blob.digest).await?;
        let layer = match kind {
            media_type::DOCKER_LAYER if compress => {
                let made = self::compress(metadata, caller, &file.digest).await?;
                Descriptor::new(media_type::DOCKER_LAYER_GZIP, made.digest, made.size)
            }
            kind => {
                if kind == media_type::DOCKER_LAYER && diff_ids.get(at) == Some(&blob.digest) {
                    label(metadata, caller, &blob.digest).await?;
                }
                Descriptor::new(kind, blob.digest.clone(), blob.size)
            }
        };
        layers.push(layer);
    }
    Ok(layers)
}

/// Blobs of which the store knows that uncompressed they are one of these; in the order of their digests.
async fn compressed(
    metadata: &Metadata,
    caller: &Caller,
    files: &[Stored],
) -> Result<Vec<(Digest, Stored)>, TransferError> {
    let texts: Vec<String> = files
        .iter()
        .map(|file| format!("labels.{UNCOMPRESSED:?}=={}", file.digest))
        .collect();
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let filters = Filters::compile(&texts, &Plugins::default()).map_err(Error::from)?;
    let (filters, mut found, mut after) = (Arc::new(filters), Vec::new(), None);
    loop {
        let (page, next) = metadata
            .content_list_page(caller, &filters, after.as_ref())
            .await?;
        for record in page {
            if let Some(plain) = record
                .labels
                .get(UNCOMPRESSED)
                .and_then(|plain| plain.parse().ok())
            {
                let (digest, size) = (record.digest, record.size);
                found.push((plain, Stored { digest, size }));
            }
        }
        if next.is_none() {
            return Ok(found);
        }
        after = next;
    }
}

/// Lets the transfer's lease keep a blob that it found.
async fn hold(metadata: &Metadata, caller: &Caller, digest: &Digest) -> Result<(), TransferError> {
    if let Some(lease) = &caller.lease {
        metadata
            .add_resource(&caller.namespace, lease, leases::CONTENT, digest.as_str())
            .await?;
    }
    Ok(())
}

/// A plain layer is its own uncompressed form, which the configuration has confirmed.
async fn label(metadata: &Metadata, caller: &Caller, digest: &Digest) -> Result<(), TransferError> {
    let labels = Labels::from([(UNCOMPRESSED.to_owned(), digest.to_string())]);
    let paths = [format!("labels.{UNCOMPRESSED}")];
    metadata.content_update(caller, digest, labels, &paths).await?;
    Ok(())
}

/// The media type of a layer, by its first bytes.
async fn kind(metadata: &Metadata, caller: &Caller, digest: &Digest) -> Result<&'static str, TransferError> {
    let blob = metadata.content_reader(caller, digest).await?;
    let mut start = [0; MAGIC_BYTES];
    let read = blob
        .read_at(&mut start, 0)
        .map_err(|source| TransferError::Read {
            digest: digest.clone(),
            source,
        })?;
    Ok(match sniff(&start[..read]) {
        Some(Compression::Gzip) => media_type::DOCKER_LAYER_GZIP,
        Some(Compression::Zstd) => media_type::DOCKER_LAYER_ZSTD,
        // Docker's type for "told by its first bytes": a processor may know what we do not.
        None | Some(Compression::Foreign(_)) => media_type::DOCKER_LAYER,
    })
}

/// Compresses a layer into another blob, which says what it is uncompressed.
async fn compress(metadata: &Metadata, caller: &Caller, plain: &Digest) -> Result<Stored, TransferError> {
    let blob = metadata.content_reader(caller, plain).await?;
    let reference = format!("compress-blob-{}-{}", plain.algorithm(), plain.hex());
    let mut writer = metadata.ingest(caller, &reference, None, None).await?;
    writer.truncate().await?;
    let (chunks, mut made) = mpsc::channel(limits::CHUNKS_AHEAD);
    let digest = plain.clone();
    let thread = std::thread::Builder::new().name("compress".to_owned());
    let failed = |source| TransferError::Read {
        digest: plain.clone(),
        source,
    };
    thread
        .spawn(move || {
            if let Err(source) = gzip(blob, &chunks) {
                let _ = chunks.blocking_send(Err(TransferError::Read { digest, source }));
            }
        })
        .map_err(failed)?;
    while let Some(chunk) = made.recv().await {
        writer.write(chunk?).await?;
    }
    let (digest, size) = (writer.digest()?, writer.status()?.offset);
    let labels = Labels::from([(UNCOMPRESSED.to_owned(), plain.to_string())]);
    match writer.commit(Some(size), Some(&digest), labels).await {
        Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(Stored { digest, size }),
        Err(error) => Err(error.into()),
    }
}

type Chunks = mpsc::Sender<Result<Bytes, TransferError>>;

fn gzip(mut blob: transom_content::Blob, chunks: &Chunks) -> std::io::Result<()> {
    let level = flate2::Compression::default();
    let mut encoder = flate2::write::GzEncoder::new(Pieces::new(chunks), level);
    let mut buffer = vec![0; limits::CHUNK_BYTES];
    loop {
        let read = blob.read(&mut buffer)?;
        if read == 0 {
            return encoder.finish()?.flush();
        }
        encoder.write_all(&buffer[..read])?;
    }
}

/// Hands on what is written in pieces of some size.
struct Pieces<'c> {
    chunks: &'c Chunks,
    piece: Vec<u8>,
}

impl<'c> Pieces<'c> {
    fn new(chunks: &'c Chunks) -> Pieces<'c> {
        Pieces {
            chunks,
            piece: Vec::new(),
        }
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= limits::CHUNK_BYTES {
            self.hand_on()?;
        }
        Ok(bytes.len())
    }

    /// The encoder's flushes would make small pieces; the last one comes from here.
    fn flush(&mut self) -> std::io::Result<()> {
        self.hand_on()
    }
}

impl Pieces<'_> {
    fn hand_on(&mut self) -> std::io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        self.chunks
            .blocking_send(Ok(piece.into()))
            .map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}
