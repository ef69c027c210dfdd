//! Maps of sparse files: where in the file its data belongs (GNU tar manual, "Storing Sparse Files").

use super::block::{BLOCK, number};
use super::pax::{SparseRecords, decimal};

/// A piece of data in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// How many bytes it has.
    pub(super) length: u64,
}

/// The problem with every bad map.
pub(super) const BAD_MAP: &str = "the map of a sparse file is malformed";

/// Which map an entry's PAX records announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PaxMap {
    /// Not a sparse file.
    None,
    /// Formats 0.0 and 0.1: the map is in the records.
    InRecords,
    /// Format 1.0: the map is at the start of the data.
    InData,
}

impl SparseRecords {
    /// Tells the format, as Go does: unknown versions are no sparse files at all.
    pub(super) fn format(&self) -> PaxMap {
        match (&self.major[..], &self.minor[..]) {
            (b"0", b"0" | b"1") => PaxMap::InRecords,
            (b"1", b"0") => PaxMap::InData,
            (b"", b"") if !self.map.is_empty() => PaxMap::InRecords,
            _ => PaxMap::None,
        }
    }

    /// The file's size with its holes, if the records have it.
    pub(super) fn logical_size(&self) -> Result<Option<u64>, &'static str> {
        let text = if self.size.is_empty() {
            &self.real_size
        } else {
            &self.size
        };
        if text.is_empty() {
            return Ok(None);
        }
        decimal(text)
            .and_then(|size| u64::try_from(size).ok())
            .map(Some)
            .ok_or(BAD_MAP)
    }

    /// The pieces of formats 0.0 and 0.1, at most `limit` (`Ok(None)` if there are more).
    pub(super) fn pieces(&self, limit: usize) -> Result<Option<Vec<Piece>>, &'static str> {
        let count = decimal(&self.num_blocks)
            .and_then(|count| usize::try_from(count).ok())
            .ok_or(BAD_MAP)?;
        if count > limit {
            return Ok(None);
        }
        let mut numbers = Vec::new();
        if !self.map.is_empty() {
            for number in self.map.split(|&byte| byte == b',') {
                numbers.push(natural(number).ok_or(BAD_MAP)?);
            }
        }
        if numbers.len() != 2 * count {
            return Err(BAD_MAP);
        }
        let pair = |pair: &[u64]| Piece {
            offset: pair[0],
            length: pair[1],
        };
        Ok(Some(numbers.chunks_exact(2).map(pair).collect()))
    }
}

fn natural(text: &[u8]) -> Option<u64> {
    u64::try_from(decimal(text)?).ok()
}

/// Adds the pieces in `table`, entries of two numbers of 12 bytes each, up to the first empty one.
pub(super) fn old_gnu_pieces(table: &[u8], pieces: &mut Vec<Piece>) -> Result<(), &'static str> {
    for entry in table.chunks_exact(24) {
        if entry[0] == 0 {
            break;
        }
        let field = |field: &[u8]| number(field).and_then(|n| u64::try_from(n).ok()).ok_or(BAD_MAP);
        pieces.push(Piece {
            offset: field(&entry[..12])?,
            length: field(&entry[12..])?,
        });
    }
    Ok(())
}

/// The part of an old GNU header block that holds its first four pieces.
pub(super) fn old_gnu_table(block: &[u8; BLOCK]) -> &[u8] {
    &block[386..482]
}

/// Reads the map of format 1.0 from the blocks at the start of the data: a count, then that many pairs, one number a
/// line, filled up to a whole block.
#[derive(Debug, Default)]
pub(super) struct MapReader {
    count: Option<usize>,
    numbers: usize,
    offset: u64,
    token: Vec<u8>,
    pieces: Vec<Piece>,
}

/// What a [`MapReader`] says after a block.
pub(super) enum MapState {
    More,
    Done(Vec<Piece>),
    TooMany,
}

/// As many digits as a 64-bit number can have, and a sign.
const TOKEN_MAX: usize = 20;

impl MapReader {
    /// Takes one block; what follows the map in its last block is filling.
    pub(super) fn feed(&mut self, block: &[u8], limit: usize) -> Result<MapState, &'static str> {
        for &byte in block {
            if byte != b'\n' {
                if self.token.len() == TOKEN_MAX {
                    return Err(BAD_MAP);
                }
                self.token.push(byte);
                continue;
            }
            let number = natural(&self.token).ok_or(BAD_MAP)?;
            self.token.clear();
            match self.count {
                None => {
                    let count = usize::try_from(number).unwrap_or(usize::MAX);
                    if count > limit {
                        return Ok(MapState::TooMany);
                    }
                    self.count = Some(count);
                }
                Some(_) if self.numbers.is_multiple_of(2) => {
                    self.offset = number;
                    self.numbers += 1;
                }
                Some(_) => {
                    self.pieces.push(Piece {
                        offset: self.offset,
                        length: number,
                    });
                    self.numbers += 1;
                }
            }
            if self.count == Some(self.pieces.len()) {
                return Ok(MapState::Done(std::mem::take(&mut self.pieces)));
            }
        }
        Ok(MapState::More)
    }
}

/// Checks that the pieces are in order, do not overlap, end inside the file, and together are exactly the data that is
/// in the stream.
pub(super) fn check(pieces: &[Piece], size: u64, stored: u64) -> Result<(), &'static str> {
    let mut end = 0_u64;
    let mut total = 0_u64;
    for piece in pieces {
        let piece_end = piece.offset.checked_add(piece.length).ok_or(BAD_MAP)?;
        if piece.offset < end || piece_end > size {
            return Err(BAD_MAP);
        }
        end = piece_end;
        total += piece.length;
    }
    if total != stored {
        return Err("the map of a sparse file does not fit its data");
    }
    Ok(())
}
