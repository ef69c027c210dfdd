//! The loop over a tar stream: headers, extension headers, data, the end.

use bytes::Bytes;

use super::block::{self, BLOCK, Dialect, Fields};
use super::entry::{Entry, EntryKind};
use super::error::TarError;
use super::limits::TarLimits;
use super::pax::Records;
use super::source::ChunkSource;
use super::sparse::{self, BAD_MAP, MapReader, MapState, PaxMap, Piece};

/// A piece of an entry's content.
#[derive(Debug)]
pub struct Data {
    /// Where it belongs in the file, in bytes from its start. Pieces come in order and do not overlap; what lies
    /// between them in a sparse file is a hole.
    pub offset: u64,
    /// The bytes: a slice of the source's chunk, not a copy.
    pub bytes: Bytes,
}

/// Reads entries from a stream of chunks of any size, in one pass.
pub struct Reader<'s> {
    source: &'s mut dyn ChunkSource,
    limits: TarLimits,
    /// What is left of the chunk at hand.
    chunk: Bytes,
    /// Bytes taken from the stream so far, without what is left in `chunk`.
    position: u64,
    /// Bytes of the current entry's data that are still in the stream.
    stored: u64,
    /// Filling after that data, up to a whole block.
    filling: u64,
    /// Where the next byte of data belongs in the current file.
    file_offset: u64,
    /// The pieces of the current sparse file that are not read yet, the next one last; `None` for other files.
    pieces: Option<Vec<Piece>>,
    at_end: bool,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("position", &self.position)
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

/// What extension headers have said about the entry that they come before.
#[derive(Default)]
struct Pending {
    records: Records,
    long_path: Vec<u8>,
    long_link: Vec<u8>,
}

impl<'s> Reader<'s> {
    /// Reads from `source`.
    pub fn new(source: &'s mut dyn ChunkSource, limits: TarLimits) -> Self {
        Self {
            source,
            limits,
            chunk: Bytes::new(),
            position: 0,
            stored: 0,
            filling: 0,
            file_offset: 0,
            pieces: None,
            at_end: false,
        }
    }

    /// Bytes of the stream that were read so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes on to the next entry, past whatever is left of the current one; `None` after the last. PAX global headers
    /// are checked and otherwise ignored, as containerd does.
    ///
    /// The archive ends with two blocks of zeros, with one that nothing follows, or with the stream itself where a
    /// header would begin. What follows two blocks of zeros is left in the stream: see [`Reader::drain`].
    ///
    /// # Errors
    /// [`TarError`]; the reader must not be used after one.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut pending = Pending::default();
        while !self.at_end {
            self.skip_rest()?;
            let offset = self.position;
            let Some(header) = self.next_header()? else {
                self.at_end = true;
                break;
            };
            let corrupt = |problem| TarError::Corrupt { offset, problem };
            let fields = block::parse(&header).map_err(corrupt)?;
            match fields.flag {
                b'x' => pending.records = self.records(&fields, offset)?,
                b'g' => {
                    self.records(&fields, offset)?;
                    pending = Pending::default();
                }
                b'L' => pending.long_path = block::text(&self.extension(&fields, offset)?).to_vec(),
                b'K' => pending.long_link = block::text(&self.extension(&fields, offset)?).to_vec(),
                _ => return self.entry(&header, fields, pending, offset).map(Some),
            }
        }
        Ok(None)
    }

    /// The next piece of the current entry's content; `None` after the last.
    ///
    /// # Errors
    /// [`TarError::Source`] and [`TarError::Truncated`].
    pub fn next_data(&mut self) -> Result<Option<Data>, TarError> {
        if self.stored == 0 {
            return Ok(None);
        }
        let mut most = self.stored;
        if let Some(pieces) = &mut self.pieces {
            while let Some(piece) = pieces.last()
                && piece.length == 0
            {
                pieces.pop();
            }
            if let Some(piece) = pieces.last() {
                self.file_offset = piece.offset;
                most = most.min(piece.length);
            }
        }
        if !self.fill()? {
            return Err(TarError::Truncated {
                offset: self.position,
                part: "a file's content",
            });
        }
        let bytes = self.take(most);
        let length = bytes.len() as u64;
        self.stored -= length;
        let offset = self.file_offset;
        self.file_offset += length;
        if let Some(piece) = self.pieces.as_mut().and_then(|pieces| pieces.last_mut()) {
            piece.offset += length;
            piece.length -= length;
        }
        Ok(Some(Data { offset, bytes }))
    }

    /// Reads the stream to its end, whatever is in it, so that whoever digests it on the way has seen every byte. Call
    /// it after the last entry.
    ///
    /// # Errors
    /// [`TarError::Source`].
    pub fn drain(&mut self) -> Result<(), TarError> {
        loop {
            self.position += self.chunk.len() as u64;
            self.chunk = Bytes::new();
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    /// Makes sure that `chunk` has bytes; `false` at the end of the stream.
    fn fill(&mut self) -> Result<bool, TarError> {
        while self.chunk.is_empty() {
            match self.source.next_chunk().map_err(TarError::Source)? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Takes at most `most` bytes of the chunk at hand.
    fn take(&mut self, most: u64) -> Bytes {
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.chunk.len());
        self.position += length as u64;
        self.chunk.split_to(length)
    }

    /// Fills `buffer`, and says how much of it: less than all of it only at the end of the stream.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while filled < buffer.len() && self.fill()? {
            let bytes = self.take((buffer.len() - filled) as u64);
            buffer[filled..filled + bytes.len()].copy_from_slice(&bytes);
            filled += bytes.len();
        }
        Ok(filled)
    }

    /// Skips at most `count` bytes, and says how many the stream did not have.
    fn skip(&mut self, mut count: u64) -> Result<u64, TarError> {
        while count > 0 && self.fill()? {
            count -= self.take(count).len() as u64;
        }
        Ok(count)
    }

    /// Goes past the current entry. A stream may end inside the filling, but not inside the data.
    fn skip_rest(&mut self) -> Result<(), TarError> {
        let (stored, filling) = (self.stored, self.filling);
        (self.stored, self.filling, self.pieces) = (0, 0, None);
        if self.skip(stored)? > 0 {
            return Err(TarError::Truncated {
                offset: self.position,
                part: "a file's content",
            });
        }
        self.skip(filling)?;
        Ok(())
    }

    /// The next block; `None` at the end of the stream.
    fn next_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        match self.read(&mut block)? {
            BLOCK => Ok(Some(block)),
            0 => Ok(None),
            _ => Err(TarError::Truncated {
                offset: self.position,
                part: "a header",
            }),
        }
    }

    /// The next block that is not the end of the archive.
    fn next_header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let Some(block) = self.next_block()? else {
            return Ok(None);
        };
        if !block::is_zero(&block) {
            return Ok(Some(block));
        }
        match self.next_block()? {
            Some(block) if !block::is_zero(&block) => Err(TarError::Corrupt {
                offset: self.position - BLOCK as u64,
                problem: "a block of zeros in the middle of the archive",
            }),
            _ => Ok(None),
        }
    }

    /// Makes `size` bytes of data current.
    fn set_data(&mut self, size: u64) {
        self.stored = size;
        self.filling = size.wrapping_neg() % BLOCK as u64;
        self.file_offset = 0;
        self.pieces = None;
    }

    /// The body of an extension header. Its size is that of its own block: what an earlier PAX header says is about the
    /// entry after all extension headers, never about one of them.
    fn extension(&mut self, fields: &Fields, offset: u64) -> Result<Vec<u8>, TarError> {
        let size = checked_size(fields.size, offset)?;
        let limit = self.limits.extension_bytes;
        if size > limit {
            return Err(TarError::Limit {
                offset,
                what: "the bytes of an extension header",
                limit,
            });
        }
        self.set_data(size);
        let mut body = Vec::new();
        while let Some(data) = self.next_data()? {
            body.extend_from_slice(&data.bytes);
        }
        Ok(body)
    }

    fn records(&mut self, fields: &Fields, offset: u64) -> Result<Records, TarError> {
        let body = self.extension(fields, offset)?;
        Records::parse(&body).map_err(|problem| TarError::Corrupt { offset, problem })
    }

    /// Makes the entry out of its block and what came before it, and stands at the start of its data.
    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        mut fields: Fields,
        mut pending: Pending,
        offset: u64,
    ) -> Result<Entry, TarError> {
        let corrupt = |problem| TarError::Corrupt { offset, problem };
        // The block's own size has to make sense even where PAX has the last word.
        checked_size(fields.size, offset)?;
        let records = &mut pending.records;
        let xattrs = records.take_xattrs();
        if xattrs.len() > self.limits.xattrs {
            let limit = self.limits.xattrs as u64;
            return Err(TarError::Limit {
                offset,
                what: "the extended attributes of an entry",
                limit,
            });
        }
        let merged = records.merge(&mut fields).map_err(corrupt)?;
        if !pending.long_path.is_empty() {
            fields.path = std::mem::take(&mut pending.long_path);
        }
        if !pending.long_link.is_empty() {
            fields.link = std::mem::take(&mut pending.long_link);
        }
        let kind = kind(fields.flag, &fields.path);
        let size = checked_size(fields.size, offset)?;
        self.set_data(if kind.is_header_only() { 0 } else { size });
        let mut entry = Entry {
            kind,
            path: fields.path,
            link: fields.link,
            mode: fields.mode,
            uid: fields.uid,
            gid: fields.gid,
            size,
            mtime: merged.mtime,
            atime: merged.atime,
            dev_major: fields.dev_major,
            dev_minor: fields.dev_minor,
            xattrs,
            sparse: false,
            offset,
        };
        if fields.flag == b'S' {
            self.old_gnu_sparse(header, fields.dialect, &mut entry)?;
        } else {
            self.pax_sparse(&pending.records, &mut entry)?;
        }
        Ok(entry)
    }

    /// GNU's own sparse format: four pieces in the header, more in extension blocks between it and the data.
    fn old_gnu_sparse(
        &mut self,
        header: &[u8; BLOCK],
        dialect: Dialect,
        entry: &mut Entry,
    ) -> Result<(), TarError> {
        let offset = entry.offset;
        let corrupt = |problem| TarError::Corrupt { offset, problem };
        if dialect != Dialect::Gnu {
            return Err(corrupt("a sparse file in a header that is not GNU's"));
        }
        let size = block::number(&header[483..495]).ok_or(corrupt(BAD_MAP))?;
        entry.size = u64::try_from(size).map_err(|_| corrupt(BAD_MAP))?;
        let mut pieces = Vec::new();
        sparse::old_gnu_pieces(sparse::old_gnu_table(header), &mut pieces).map_err(corrupt)?;
        let mut goes_on = header[482] != 0;
        while goes_on {
            let Some(block) = self.next_block()? else {
                return Err(TarError::Truncated {
                    offset: self.position,
                    part: "the map of a sparse file",
                });
            };
            sparse::old_gnu_pieces(&block[..504], &mut pieces).map_err(corrupt)?;
            if pieces.len() > self.limits.sparse_pieces {
                return Err(self.too_many_pieces(offset));
            }
            goes_on = block[504] != 0;
        }
        self.set_pieces(pieces, entry)
    }

    /// GNU's sparse formats in PAX records.
    fn pax_sparse(&mut self, records: &Records, entry: &mut Entry) -> Result<(), TarError> {
        let offset = entry.offset;
        let corrupt = |problem| TarError::Corrupt { offset, problem };
        let format = records.sparse.format();
        if format == PaxMap::None {
            return Ok(());
        }
        if entry.kind.is_header_only() {
            return Err(corrupt("an entry without data has the map of a sparse file"));
        }
        if !records.sparse.name.is_empty() {
            entry.path.clone_from(&records.sparse.name);
        }
        if let Some(size) = records.sparse.logical_size().map_err(corrupt)? {
            entry.size = size;
        }
        let limit = self.limits.sparse_pieces;
        let pieces = match format {
            PaxMap::InData => self.map_in_data(offset)?,
            _ => records
                .sparse
                .pieces(limit)
                .map_err(corrupt)?
                .ok_or(self.too_many_pieces(offset))?,
        };
        self.set_pieces(pieces, entry)
    }

    fn map_in_data(&mut self, offset: u64) -> Result<Vec<Piece>, TarError> {
        let corrupt = |problem| TarError::Corrupt { offset, problem };
        let mut map = MapReader::default();
        loop {
            if self.stored < BLOCK as u64 {
                return Err(corrupt(BAD_MAP));
            }
            self.stored -= BLOCK as u64;
            let Some(block) = self.next_block()? else {
                return Err(TarError::Truncated {
                    offset: self.position,
                    part: "the map of a sparse file",
                });
            };
            match map.feed(&block, self.limits.sparse_pieces).map_err(corrupt)? {
                MapState::More => {}
                MapState::Done(pieces) => return Ok(pieces),
                MapState::TooMany => return Err(self.too_many_pieces(offset)),
            }
        }
    }

    fn too_many_pieces(&self, offset: u64) -> TarError {
        let limit = self.limits.sparse_pieces as u64;
        TarError::Limit {
            offset,
            what: "the pieces of a sparse file",
            limit,
        }
    }

    fn set_pieces(&mut self, mut pieces: Vec<Piece>, entry: &mut Entry) -> Result<(), TarError> {
        sparse::check(&pieces, entry.size, self.stored).map_err(|problem| TarError::Corrupt {
            offset: entry.offset,
            problem,
        })?;
        pieces.reverse();
        self.pieces = Some(pieces);
        entry.sparse = true;
        Ok(())
    }
}

fn checked_size(size: i64, offset: u64) -> Result<u64, TarError> {
    u64::try_from(size).map_err(|_| TarError::Corrupt {
        offset,
        problem: "the size is negative",
    })
}

fn kind(flag: u8, path: &[u8]) -> EntryKind {
    match flag {
        // Before ustar a folder was a file whose name ends in a slash.
        0 if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => EntryKind::Other(other),
    }
}
