//! A thread that decompresses an archive and takes it apart: chunks in, files out.

use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;
use transom_image::limits::{ARCHIVE_MEMBERS_MAX, ARCHIVE_NAME_BYTES_MAX, ZSTD_WINDOW_LOG_MAX};
use transom_image::source::spool::{Compression, MAGIC_BYTES, sniff};
use transom_layer::tar::{ChunkSource, Entry, EntryKind, Reader, SourceError, TarError, TarLimits};

use crate::bytes::{ByteSource, StreamError};
use crate::error::TransferError;
use crate::limits;

/// What the thread finds, in the order of the archive.
#[derive(Debug)]
pub(super) enum Item {
    /// A file of so many bytes begins.
    File { name: String, size: u64 },
    /// Bytes of it.
    Data(Bytes),
    /// It has ended.
    FileEnd,
    /// A link from one name to another.
    Link { name: String, target: String },
    /// The archive has ended; whether it said so itself.
    End { complete: bool },
}

type Chunk = Result<Bytes, StreamError>;

/// Begins to take an archive apart. The task that feeds the thread ends when the items are dropped.
pub(super) fn open(mut source: Box<dyn ByteSource>) -> (Feed, mpsc::Receiver<Result<Item, TransferError>>) {
    let (chunks, incoming) = mpsc::channel::<Chunk>(limits::CHUNKS_AHEAD);
    let (items, found) = mpsc::channel(limits::CHUNKS_AHEAD);
    let feed = tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                next = source.next() => next,
                () = chunks.closed() => return,
            };
            let Some(chunk) = next.transpose() else { return };
            let last = chunk.is_err();
            if chunks.send(chunk).await.is_err() || last {
                return;
            }
        }
    });
    // A thread of its own: it waits for writers, which need those of the runtime.
    let thread = std::thread::Builder::new().name("import".to_owned());
    let spawned = thread.spawn(move || {
        let chunks = Chunks::new(incoming);
        if let Err(error) = take_apart(chunks, &items) {
            let _ = items.blocking_send(Err(error));
        }
    });
    if let Err(source) = spawned {
        tracing::warn!(error = %source, "no thread for an import");
    }
    (Feed(feed), found)
}

/// Ends the task that reads the client's stream when it is dropped.
pub(super) struct Feed(tokio::task::JoinHandle<()>);

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Nobody wants the items any more.
struct Gone;

fn take_apart(
    mut chunks: Chunks,
    items: &mpsc::Sender<Result<Item, TransferError>>,
) -> Result<(), TransferError> {
    let compression = sniff(chunks.peek(MAGIC_BYTES)?);
    match compression {
        None => read(&mut chunks, items, TransferError::Tar)?,
        Some(Compression::Gzip) => {
            let decoder = flate2::read::MultiGzDecoder::new(&mut chunks);
            decompressed(decoder, "gzip", items)?;
        }
        Some(Compression::Zstd) => {
            let failed = |source| TransferError::Decompress {
                compression: "zstd",
                source,
            };
            let mut decoder = zstd::stream::read::Decoder::new(&mut chunks).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
            decompressed(decoder, "zstd", items)?;
        }
        Some(Compression::Foreign(program)) => {
            return Err(TransferError::Format {
                reason: format!("it is compressed with {program}: decompress it with `{program} -d` first"),
            });
        }
    }
    chunks.finish();
    Ok(())
}

fn decompressed(
    decoder: impl Read,
    compression: &'static str,
    items: &mpsc::Sender<Result<Item, TransferError>>,
) -> Result<(), TransferError> {
    let mut source = Decompressed { decoder, seen: 0 };
    read(&mut source, items, |error| match error {
        TarError::Source(source) => match source.into_inner().downcast::<io::Error>() {
            Ok(source) => decoder_failed(compression, *source),
            Err(other) => TransferError::Tar(TarError::Source(SourceError::new(other))),
        },
        other => TransferError::Tar(other),
    })
}

/// The client's stream may be what failed below a decoder.
fn decoder_failed(compression: &'static str, source: io::Error) -> TransferError {
    let stream = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<StreamError>());
    match stream {
        Some(error) => TransferError::Stream(error.clone()),
        None => TransferError::Decompress { compression, source },
    }
}

/// Reads the tar and hands on what it has. Ends early, and well, if nobody wants more.
fn read(
    source: &mut dyn ChunkSource,
    items: &mpsc::Sender<Result<Item, TransferError>>,
    explain: impl Fn(TarError) -> TransferError,
) -> Result<(), TransferError> {
    let mut source = Watched {
        inner: source,
        zeros: 0,
    };
    let mut reader = Reader::new(&mut source, TarLimits::default());
    let send = |item| items.blocking_send(Ok(item)).map_err(|_| Gone);
    let mut counted = Counted::default();
    loop {
        let entry = reader.next_entry().map_err(|error| explained(error, &explain))?;
        let Some(entry) = entry else { break };
        counted.add(&entry)?;
        let Some(item) = item(&entry)? else { continue };
        let is_file = matches!(item, Item::File { .. });
        if send(item).is_err() {
            return Ok(());
        }
        let mut more = is_file;
        while more {
            let data = reader.next_data().map_err(|error| explained(error, &explain))?;
            more = data.is_some();
            let item = data.map_or(Item::FileEnd, |data| Item::Data(data.bytes));
            if send(item).is_err() {
                return Ok(());
            }
        }
    }
    let complete = source.zeros >= END_BYTES;
    let _ = send(Item::End { complete });
    Ok(())
}

/// Zeros at the end of an archive that say that it is whole: one block; the second may be missing.
const END_BYTES: u64 = 512;

fn explained(error: TarError, explain: &impl Fn(TarError) -> TransferError) -> TransferError {
    match error {
        TarError::Source(source) => match source.into_inner().downcast::<StreamError>() {
            Ok(stream) => TransferError::Stream(*stream),
            Err(other) => explain(TarError::Source(SourceError::new(other))),
        },
        other => explain(other),
    }
}

/// What an entry is for an import: folders and devices are nothing, nor is what no JSON could name.
fn item(entry: &Entry) -> Result<Option<Item>, TransferError> {
    let Some(name) = clean(&entry.path) else {
        return Ok(None);
    };
    Ok(match entry.kind {
        EntryKind::File if entry.sparse => {
            let problem = "sparse files are not supported here: write the archive without --sparse";
            return Err(crate::document::refused(&name, problem));
        }
        EntryKind::File => Some(Item::File {
            name,
            size: entry.size,
        }),
        EntryKind::Symlink => {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = [folder.as_bytes(), b"/", &entry.link].concat();
            clean(&target).map(|target| Item::Link { name, target })
        }
        EntryKind::HardLink => clean(&entry.link).map(|target| Item::Link { name, target }),
        _ => None,
    })
}

/// A name with `.` and `..` taken out; none if that leaves nothing, leads out, or if it is no text.
pub(super) fn clean(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// How much the archive has of what is kept in memory.
#[derive(Default)]
struct Counted {
    members: u64,
    name_bytes: u64,
}

impl Counted {
    fn add(&mut self, entry: &Entry) -> Result<(), TransferError> {
        self.members += 1;
        self.name_bytes += (entry.path.len() + entry.link.len()) as u64;
        let exceeded = |what: &str, limit| {
            Err(TransferError::Limit {
                what: format!("the {what} of the archive"),
                limit,
            })
        };
        if self.members > ARCHIVE_MEMBERS_MAX {
            return exceeded("members", ARCHIVE_MEMBERS_MAX);
        }
        if self.name_bytes > ARCHIVE_NAME_BYTES_MAX {
            return exceeded("names", ARCHIVE_NAME_BYTES_MAX);
        }
        Ok(())
    }
}

/// The client's chunks, for a thread that waits for them.
struct Chunks {
    incoming: mpsc::Receiver<Chunk>,
    /// Read, and not yet taken.
    ahead: Bytes,
}

impl Chunks {
    fn new(incoming: mpsc::Receiver<Chunk>) -> Chunks {
        Chunks {
            incoming,
            ahead: Bytes::new(),
        }
    }

    /// The first bytes, as many as wanted unless there are less.
    fn peek(&mut self, wanted: usize) -> Result<&[u8], StreamError> {
        while self.ahead.len() < wanted {
            let Some(chunk) = self.incoming.blocking_recv() else {
                break;
            };
            let mut joined = BytesMut::from(&*self.ahead);
            joined.extend_from_slice(&chunk?);
            self.ahead = joined.freeze();
        }
        Ok(&self.ahead)
    }

    fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        if !self.ahead.is_empty() {
            return Ok(Some(std::mem::take(&mut self.ahead)));
        }
        self.incoming.blocking_recv().transpose()
    }

    /// Reads what fills up the last record, so that the client can send it.
    fn finish(mut self) {
        let mut rest = 0;
        while rest <= limits::TRAILING_BYTES
            && let Ok(Some(chunk)) = self.next()
        {
            rest += chunk.len() as u64;
        }
    }
}

impl ChunkSource for Chunks {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.next().map_err(SourceError::new)
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ahead.is_empty() {
            match self.next().map_err(io::Error::other)? {
                Some(chunk) => self.ahead = chunk,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.ahead.len());
        self.ahead.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

struct Decompressed<R> {
    decoder: R,
    seen: u64,
}

impl<R: Read> ChunkSource for Decompressed<R> {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        let mut buffer = BytesMut::zeroed(limits::CHUNK_BYTES);
        let mut filled = 0;
        while filled < buffer.len() {
            match self.decoder.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SourceError::new(error)),
            }
        }
        self.seen += filled as u64;
        if self.seen > limits::DECOMPRESSED_BYTES {
            let text = format!("it becomes more than {} bytes", limits::DECOMPRESSED_BYTES);
            return Err(SourceError::new(io::Error::other(text)));
        }
        buffer.truncate(filled);
        Ok((filled > 0).then(|| buffer.freeze()))
    }
}

/// Remembers how many zeros came last.
struct Watched<'s> {
    inner: &'s mut dyn ChunkSource,
    zeros: u64,
}

impl ChunkSource for Watched<'_> {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        let chunk = self.inner.next_chunk()?;
        if let Some(chunk) = &chunk {
            let last = chunk.iter().rev().take_while(|byte| **byte == 0);
            // More than a block makes no difference.
            let zeros = last.take(END_BYTES as usize).count() as u64;
            self.zeros = if zeros == chunk.len() as u64 {
                self.zeros + zeros
            } else {
                zeros
            };
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_do_not_lead_out() {
        for (name, wanted) in [
            ("blobs/sha256/a", Some("blobs/sha256/a")),
            ("./blobs//sha256/./a", Some("blobs/sha256/a")),
            ("/index.json", Some("index.json")),
            ("a/../index.json", Some("index.json")),
            ("../index.json", None),
            ("a/../../index.json", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(clean(name.as_bytes()).as_deref(), wanted, "{name}");
        }
        assert_eq!(clean(b"\xff"), None);
    }
}
