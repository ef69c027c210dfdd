//! Frames to content.

use std::io::{self, Cursor, Read};

use ruzstd::decoding::FrameDecoder;
use transom_sdk::storage::{Content, File, StorageError, Store};

use crate::table::{FOOTER, Frame, Table};

/// How often content is opened again that was replaced in the meantime.
const TRIES: usize = 8;

/// Bytes of the end that are read at first, for a size and for a read: most tables are within, and small content is whole.
const END_FOR_SIZE: u64 = 2 * 1024;
const END_FOR_READ: u64 = 64 * 1024;

/// The largest frame of somebody else's that is decompressed: it is in memory.
const FRAME_MAX: u32 = 16 << 20;

/// The size of content.
pub(crate) fn size(inner: &dyn Store, path: &str, file: File) -> Result<u64, StorageError> {
    ended(inner, path, file, END_FOR_SIZE).map(|end| end.table.size())
}

/// Opens content from an offset on.
pub(crate) fn read(inner: &dyn Store, path: &str, offset: u64) -> Result<Content, StorageError> {
    for _ in 0..TRIES {
        // Says what is there, and what is wrong if it is no content.
        let file = inner.read(path, 0)?.file;
        let mut end = ended(inner, path, file, END_FOR_READ)?;
        let size = end.table.size();
        if offset > size {
            return Err(StorageError::InvalidOffset(size));
        }
        let (frame, position, skip) = end.table.find(offset);
        let kept: Box<dyn Read> = if end.bytes.len() as u64 == end.file.size {
            let mut bytes = Cursor::new(end.bytes);
            bytes.set_position(position);
            Box::new(bytes)
        } else {
            let kept = inner.read(path, position)?;
            if kept.file != end.file {
                continue;
            }
            kept.body
        };
        let file = File { size, ..end.file };
        let body = Unpacker {
            frames: end.table.0.split_off(frame).into_iter(),
            kept,
            skip: skip as usize,
            content: Vec::new(),
            taken: 0,
            decoder: FrameDecoder::new(),
        };
        return Ok(Content {
            file,
            body: Box::new(body),
        });
    }
    Err(replaced())
}

fn replaced() -> StorageError {
    StorageError::unavailable("it is replaced again and again while it is opened")
}

/// The end of what is kept.
struct End {
    file: File,
    table: Table,
    /// Its last bytes, the table among them; all of it if it is small.
    bytes: Vec<u8>,
}

fn ended(inner: &dyn Store, path: &str, mut file: File, first: u64) -> Result<End, StorageError> {
    let mut wanted = first;
    for _ in 0..TRIES {
        let from = file.size.saturating_sub(wanted);
        let mut content = match inner.read(path, from) {
            // It is shorter by now.
            Err(StorageError::InvalidOffset(size)) => {
                file.size = size;
                continue;
            }
            content => content?,
        };
        if content.file.size != file.size {
            file = content.file;
            continue;
        }
        file = content.file;
        let mut bytes = Vec::new();
        content.body.read_to_end(&mut bytes)?;
        let length = Table::length(&bytes[bytes.len().saturating_sub(FOOTER)..])?;
        if length > file.size {
            return Err(StorageError::damaged("its table is longer than all of it"));
        }
        if length > bytes.len() as u64 {
            wanted = length;
            continue;
        }
        let start = bytes.len() - length as usize;
        let table = Table::read(&bytes[start..], file.size)?;
        return Ok(End { file, table, bytes });
    }
    Err(replaced())
}

/// Decompresses frame by frame.
struct Unpacker {
    frames: std::vec::IntoIter<Frame>,
    kept: Box<dyn Read>,
    /// Content of the next frame that is left out.
    skip: usize,
    content: Vec<u8>,
    taken: usize,
    decoder: FrameDecoder,
}

impl Unpacker {
    fn next(&mut self, frame: Frame) -> Result<(), StorageError> {
        let damaged = |what: &str| Err(StorageError::damaged(format!("a frame of it {what}")));
        if frame.content > FRAME_MAX || frame.kept > FRAME_MAX {
            return damaged("is larger than this driver makes them");
        }
        let mut kept = vec![0; frame.kept as usize];
        self.kept.read_exact(&mut kept)?;
        // One byte more shows a frame that is longer than the table says.
        let mut content = vec![0; frame.content as usize + 1];
        let length = match self.decoder.decode_all(&kept, &mut content) {
            Ok(length) => length,
            Err(error) => return damaged(&format!("cannot be decompressed: {error}")),
        };
        if length != frame.content as usize {
            return damaged("has not the size that the table says");
        }
        if self.decoder.get_checksum_from_data() != self.decoder.get_calculated_checksum() {
            return damaged("has another checksum than it should");
        }
        content.truncate(length);
        self.content = content;
        self.taken = std::mem::take(&mut self.skip);
        Ok(())
    }
}

impl Read for Unpacker {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken >= self.content.len() && !buffer.is_empty() {
            match self.frames.next() {
                Some(frame) => self.next(frame)?,
                None => return Ok(0),
            }
        }
        let length = (&self.content[self.taken..]).read(buffer)?;
        self.taken += length;
        Ok(length)
    }
}
