//! Looks into a tar stream as it passes, for inspectors.
//!
//! A [`Scanner`] is fed the stream in chunks of any size and tells a [`Visitor`] which entries begin and which bytes are
//! theirs. It copies no content and holds nothing but the current header, so that an inspector can hand the chunk on
//! as it is. It knows ustar, GNU long names and sparse headers, and PAX `path` and `size`.
//!
//! It is made to look, not to unpack: it does not judge names, links or modes, which is the host's job.

use std::borrow::Cow;

use crate::Error;

/// The size of everything in a tar.
const BLOCK: usize = 512;
/// The longest extended header (PAX records or a GNU long name) that is read. Names end at 4096 bytes on Linux; real
/// headers with many extended attributes stay below 64 KiB.
const MAX_EXTENDED: u64 = 1024 * 1024;

/// An entry of a tar.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entry {
    /// The path as it is in the tar, by whichever header has it.
    pub path: Vec<u8>,
    /// The type byte: `b'0'` for a file, `b'5'` for a folder and so on; a NUL of old tars is given as `b'0'`.
    pub kind: u8,
    /// How many bytes of content follow.
    pub size: u64,
    /// Where its header is, in bytes from the start of the stream.
    pub offset: u64,
}

impl Entry {
    /// The path for people.
    pub fn display_path(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }
}

/// What a scanner reports to. For every entry: `entry`, then `data` any number of times, then `end_entry`.
pub trait Visitor {
    /// An entry begins.
    fn entry(&mut self, _entry: &Entry) {}

    /// The next bytes of the entry's content.
    fn data(&mut self, _bytes: &[u8]) {}

    /// The entry is complete.
    fn end_entry(&mut self) {}
}

/// Where a scanner is in the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// In a header, or between entries.
    Header,
    /// In the further headers of an old GNU sparse file.
    SparseHeader,
    /// In content of which this much is left, to be reported or collected.
    Content { left: u64, extended: Option<u8> },
    /// In padding of which this much is left.
    Padding { left: u64 },
    /// Behind the end marker.
    End,
}

/// Finds the entries in a tar stream. See the [module](self).
#[derive(Debug)]
pub struct Scanner {
    state: State,
    offset: u64,
    block: [u8; BLOCK],
    filled: usize,
    zero_blocks: u8,
    entry: Entry,
    extended: Vec<u8>,
    long_path: Vec<u8>,
    pax: Pax,
}

/// What a PAX header said about the next entry, as far as it decides path and size. Empty means nothing.
#[derive(Debug, Default)]
struct Pax {
    path: Vec<u8>,
    size: Option<u64>,
    sparse_name: Vec<u8>,
    sparse_major: Vec<u8>,
    sparse_minor: Vec<u8>,
    has_map: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the start of a stream.
    pub fn new() -> Self {
        Self {
            state: State::Header,
            offset: 0,
            block: [0; BLOCK],
            filled: 0,
            zero_blocks: 0,
            entry: Entry::default(),
            extended: Vec::new(),
            long_path: Vec::new(),
            pax: Pax::default(),
        }
    }

    /// Takes the next chunk of the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] with the place when a header is none, [`Error::Limit`] when an extended header is longer than
    /// 1 MiB. The scanner must not be used after an error.
    pub fn feed(&mut self, mut chunk: &[u8], visitor: &mut impl Visitor) -> Result<(), Error> {
        while !chunk.is_empty() {
            let used = match self.state {
                State::End => chunk.len(),
                State::Padding { left } => {
                    let used = shorter(left, chunk.len());
                    self.state = padding(left - used as u64);
                    used
                }
                State::Content { left, extended } => {
                    let used = shorter(left, chunk.len());
                    self.content(&chunk[..used], extended, visitor);
                    let left = left - used as u64;
                    self.state = State::Content { left, extended };
                    if left == 0 {
                        self.offset += used as u64;
                        chunk = &chunk[used..];
                        self.end_content(extended, visitor)?;
                        continue;
                    }
                    used
                }
                State::Header | State::SparseHeader => {
                    let used = (BLOCK - self.filled).min(chunk.len());
                    self.block[self.filled..self.filled + used].copy_from_slice(&chunk[..used]);
                    self.filled += used;
                    if self.filled == BLOCK {
                        self.filled = 0;
                        self.header(visitor)?;
                    }
                    used
                }
            };
            self.offset += used as u64;
            chunk = &chunk[used..];
        }
        Ok(())
    }

    /// Ends the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] when it ended inside an entry. A missing end marker is no error.
    pub fn finish(self) -> Result<(), Error> {
        match self.state {
            State::End => Ok(()),
            State::Header if self.filled == 0 => Ok(()),
            _ => Err(Error::corrupt_at(self.offset, "the tar ends inside an entry")),
        }
    }

    fn content(&mut self, bytes: &[u8], extended: Option<u8>, visitor: &mut impl Visitor) {
        match extended {
            Some(_) => self.extended.extend_from_slice(bytes),
            None => visitor.data(bytes),
        }
    }

    /// The content is complete: what it was decides what is done with it.
    fn end_content(&mut self, extended: Option<u8>, visitor: &mut impl Visitor) -> Result<(), Error> {
        match extended {
            None => visitor.end_entry(),
            Some(b'L') => {
                let end = self
                    .extended
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap_or(self.extended.len());
                self.long_path = self.extended[..end].to_vec();
            }
            Some(b'x') => self.pax = self.pax()?,
            // A long link name says nothing about path and size.
            Some(_) => {}
        }
        self.extended.clear();
        self.state = padding((BLOCK as u64 - self.offset % BLOCK as u64) % BLOCK as u64);
        Ok(())
    }

    /// A whole block is there where a header belongs. `self.offset` may still be inside it.
    fn header(&mut self, visitor: &mut impl Visitor) -> Result<(), Error> {
        if self.state == State::SparseHeader {
            if self.block[504] == 0 {
                self.state = State::Content {
                    left: self.entry.size,
                    extended: None,
                };
                self.end_if_empty(visitor);
            }
            return Ok(());
        }
        let start = self.offset - self.offset % BLOCK as u64;
        if self.block[0] == 0 && self.block.iter().all(|byte| *byte == 0) {
            self.zero_blocks += 1;
            if self.zero_blocks == 2 {
                self.state = State::End;
            }
            return Ok(());
        }
        self.zero_blocks = 0;
        if !checksum_fits(&self.block) {
            return Err(Error::corrupt_at(
                start,
                "there is no tar header here: its checksum is wrong",
            ));
        }
        let size = number(&self.block[124..136])
            .ok_or_else(|| Error::corrupt_at(start + 124, "the size in this tar header is not a number"))?;
        match self.block[156] {
            kind @ (b'L' | b'K' | b'x' | b'g') => self.extended_header(start, kind, size),
            kind => {
                self.plain_header(start, kind, size, visitor);
                Ok(())
            }
        }
    }

    fn extended_header(&mut self, start: u64, kind: u8, size: u64) -> Result<(), Error> {
        if size > MAX_EXTENDED {
            let message =
                format!("the extended tar header at byte {start} is longer than {MAX_EXTENDED} bytes");
            return Err(Error::Limit(message));
        }
        // Whatever came before the same header, or before a global one, is forgotten: so reads the host.
        match kind {
            b'L' => self.long_path.clear(),
            b'x' => self.pax = Pax::default(),
            b'g' => (self.long_path, self.pax) = Default::default(),
            _ => {}
        }
        if size > 0 {
            self.state = State::Content {
                left: size,
                extended: Some(kind),
            };
        }
        Ok(())
    }

    fn plain_header(&mut self, start: u64, kind: u8, size: u64, visitor: &mut impl Visitor) {
        let pax = std::mem::take(&mut self.pax);
        let size = pax.size.unwrap_or(size);
        let is_sparse = pax.is_sparse();
        let candidates = [std::mem::take(&mut self.long_path), pax.path];
        let path = candidates.into_iter().find(|path| !path.is_empty());
        let mut path = path.unwrap_or_else(|| ustar_path(&self.block));
        let kind = match kind {
            // Before ustar a folder was a file whose name ends in a slash.
            0 if path.ends_with(b"/") => b'5',
            0 => b'0',
            kind => kind,
        };
        if is_sparse && !pax.sparse_name.is_empty() {
            path = pax.sparse_name;
        }
        // Links, devices and folders have no content, whatever their size field says.
        let size = if matches!(kind, b'1'..=b'6') { 0 } else { size };
        self.entry = Entry {
            path,
            kind,
            size,
            offset: start,
        };
        visitor.entry(&self.entry);
        if kind == b'S' && self.block[482] != 0 {
            self.state = State::SparseHeader;
            return;
        }
        self.state = State::Content {
            left: size,
            extended: None,
        };
        self.end_if_empty(visitor);
    }

    fn end_if_empty(&mut self, visitor: &mut impl Visitor) {
        if matches!(self.state, State::Content { left: 0, .. }) {
            visitor.end_entry();
            self.state = State::Header;
        }
    }

    /// Reads the PAX records that were collected: `LENGTH KEY=VALUE\n`, where the length covers the whole record.
    fn pax(&self) -> Result<Pax, Error> {
        let broken = || Error::corrupt_at(self.offset, "a PAX record before this place is malformed");
        let mut pax = Pax::default();
        let mut rest = self.extended.as_slice();
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length = decimal(&rest[..space]).ok_or_else(broken)?;
            let length = usize::try_from(length).map_err(|_| broken())?;
            let record = rest.get(space + 1..length).ok_or_else(broken)?;
            let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            pax.keep(&record[..equals], &record[equals + 1..])
                .ok_or_else(broken)?;
            rest = &rest[length..];
        }
        Ok(pax)
    }
}

impl Pax {
    /// `None` if the value is none for its key.
    fn keep(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.path = value.to_vec(),
            b"size" if value.is_empty() => self.size = None,
            b"size" => self.size = Some(decimal(value)?),
            b"GNU.sparse.name" => self.sparse_name = value.to_vec(),
            b"GNU.sparse.major" => self.sparse_major = value.to_vec(),
            b"GNU.sparse.minor" => self.sparse_minor = value.to_vec(),
            b"GNU.sparse.map" => self.has_map = !value.is_empty(),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.has_map = true,
            _ => {}
        }
        Some(())
    }

    /// Whether it describes a sparse file, whose name stands in a record of its own.
    fn is_sparse(&self) -> bool {
        match (&self.sparse_major[..], &self.sparse_minor[..]) {
            (b"0", b"0" | b"1") | (b"1", b"0") => true,
            (b"", b"") => self.has_map,
            _ => false,
        }
    }
}

fn padding(left: u64) -> State {
    if left == 0 {
        State::Header
    } else {
        State::Padding { left }
    }
}

/// The smaller of what is left and what is there.
fn shorter(left: u64, there: usize) -> usize {
    usize::try_from(left).map_or(there, |left| left.min(there))
}

fn ustar_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = prefix(block);
    if prefix.is_empty() {
        name.to_vec()
    } else {
        [prefix, b"/", name].concat()
    }
}

fn prefix(block: &[u8; BLOCK]) -> &[u8] {
    let whole = until_nul(&block[345..500]);
    if &block[257..263] == b"ustar\0" {
        // star keeps times behind a shorter prefix.
        let is_star = &block[508..512] == b"tar\0";
        return if is_star {
            until_nul(&block[345..476])
        } else {
            whole
        };
    }
    if &block[257..265] != b"ustar  \0" {
        return b"";
    }
    // GNU keeps times here. Go before 1.8 wrote a prefix all the same, which does not read as times.
    let is_time = |field: &[u8]| field[0] == 0 || signed_number(field).is_some();
    let has_times = is_time(&block[345..357]) && is_time(&block[357..369]);
    if has_times || !whole.is_ascii() {
        b""
    } else {
        whole
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// The sum of all bytes with the checksum's own taken as spaces; some old programs summed signed bytes.
fn checksum_fits(block: &[u8; BLOCK]) -> bool {
    let Some(wanted) = number(&block[148..156]) else {
        return false;
    };
    let own: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
    let unsigned = byte_sum(block) - own + 8 * 32;
    if wanted == u64::from(unsigned) {
        return true;
    }
    let others = block[..148].iter().chain(&block[156..]);
    let signed: i64 = 8 * 32 + others.map(|byte| i64::from(byte.cast_signed())).sum::<i64>();
    i64::try_from(wanted).is_ok_and(|wanted| wanted == signed)
}

/// The sum of all bytes, eight at a time: this is half of what a scan of small files costs.
fn byte_sum(block: &[u8; BLOCK]) -> u32 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    // Four sums of 16 bits side by side; each gets 128 bytes, so none overflows.
    let sums = block.as_chunks::<8>().0.iter().fold(0u64, |sums, bytes| {
        let bytes = u64::from_le_bytes(*bytes);
        sums + (bytes & EVEN) + ((bytes >> 8) & EVEN)
    });
    (0..4).map(|lane| (sums >> (16 * lane)) as u32 & 0xffff).sum()
}

/// A number field that cannot be negative.
fn number(field: &[u8]) -> Option<u64> {
    u64::try_from(signed_number(field)?).ok()
}

/// A number field: octal digits amid spaces and NULs, or two's complement after the first bit when that is set.
fn signed_number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        let invert = if field[0] & 0x40 == 0 { 0 } else { 0xff };
        let bytes = field.iter().enumerate();
        let value = bytes.map(|(index, byte)| (byte ^ invert) & if index == 0 { 0x7f } else { 0xff });
        let value = value.into_iter().try_fold(0u64, |value, byte| {
            (value >> 56 == 0).then_some(value << 8 | u64::from(byte))
        });
        let value = i64::try_from(value?).ok()?;
        return Some(if invert == 0 { value } else { !value });
    }
    let is_filling = |byte: &u8| matches!(byte, 0 | b' ');
    let Some(start) = field.iter().position(|byte| !is_filling(byte)) else {
        return Some(0);
    };
    let end = field.iter().rposition(|byte| !is_filling(byte))? + 1;
    let digits = until_nul(&field[start..end]);
    digits.iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}
