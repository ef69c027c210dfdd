//! As much of SQLite's file format as it takes to read the blobs of one table: <https://www.sqlite.org/fileformat2.html>.

use std::borrow::Cow;

use super::{Fault, be32};

/// Bytes of the file's header, before the first page's own.
const FILE_HEADER: usize = 100;
/// Trees are not deeper: a page has hundreds of children.
const DEPTH_MAX: usize = 20;

const INTERIOR: u8 = 5;
const LEAF: u8 = 13;

/// A database file in memory.
pub(super) struct Database<'a> {
    bytes: &'a [u8],
    page: usize,
    /// Bytes of a page that are used.
    usable: usize,
}

/// What a column of a row holds, as far as it matters here.
enum Value<'v> {
    Bytes(&'v [u8]),
    Integer(i64),
    Other,
}

impl<'a> Database<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Database<'a>, Fault> {
        if !bytes.starts_with(b"SQLite format 3\0") || bytes.len() < FILE_HEADER {
            return Err("it is no database of SQLite");
        }
        let page = match u16::from_be_bytes([bytes[16], bytes[17]]) {
            1 => 65536,
            size if size.is_power_of_two() && size >= 512 => usize::from(size),
            _ => return Err("its pages have a size that SQLite does not know"),
        };
        let usable = page - usize::from(bytes[20]);
        if usable < 480 {
            return Err("its pages have no room");
        }
        Ok(Database { bytes, page, usable })
    }

    /// Hands over the last blob in each row of a table.
    pub(super) fn each_blob(&self, table: &str, found: &mut dyn FnMut(Cow<'a, [u8]>)) -> Result<(), Fault> {
        let mut root = None;
        let mut left = self.bytes.len() / self.page;
        // type, name, tbl_name, rootpage, sql
        self.walk(1, 0, &mut left, &mut |row| {
            if let [
                Value::Bytes(b"table"),
                Value::Bytes(name),
                _,
                Value::Integer(page),
                ..,
            ] = columns(&row)[..]
                && name == table.as_bytes()
            {
                root = u32::try_from(page).ok();
            }
        })?;
        let root = root.ok_or("it has no table of packages")?;
        let mut left = self.bytes.len() / self.page;
        self.walk(root, 0, &mut left, &mut |row| {
            let last = columns(&row).into_iter().rev().find_map(|value| match value {
                Value::Bytes(bytes) => Some(bytes.to_vec()),
                _ => None,
            });
            found(Cow::Owned(last.unwrap_or_default()));
        })
    }

    /// Hands over the rows of a tree. `left` pages may be seen, so that a circle has an end.
    fn walk(
        &self,
        number: u32,
        depth: usize,
        left: &mut usize,
        found: &mut dyn FnMut(Cow<'a, [u8]>),
    ) -> Result<(), Fault> {
        *left = left
            .checked_sub(1)
            .filter(|_| depth < DEPTH_MAX)
            .ok_or("its pages lead in a circle")?;
        let page = self.page(number)?;
        let start = if number == 1 { FILE_HEADER } else { 0 };
        let kind = *page.get(start).ok_or(CUT)?;
        let cells = usize::from(be16(page, start + 3).ok_or(CUT)?);
        let pointers = start + if kind == INTERIOR { 12 } else { 8 };
        for cell in 0..cells {
            let at = usize::from(be16(page, pointers + 2 * cell).ok_or(CUT)?);
            match kind {
                LEAF => found(self.row(page, at)?),
                INTERIOR => self.walk(be32(page, at).ok_or(CUT)?, depth + 1, left, found)?,
                _ => return Err("a page is none of a table"),
            }
        }
        match kind {
            INTERIOR => self.walk(be32(page, start + 8).ok_or(CUT)?, depth + 1, left, found),
            _ => Ok(()),
        }
    }

    /// The row in a cell of a leaf; what does not fit into the page is on others, in a chain.
    fn row(&self, page: &'a [u8], at: usize) -> Result<Cow<'a, [u8]>, Fault> {
        let (length, at) = varint(page, at).ok_or(CUT)?;
        let (_, at) = varint(page, at).ok_or(CUT)?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.bytes.len())
            .ok_or(CUT)?;
        let local = self.local(length);
        let begin = page.get(at..at + local).ok_or(CUT)?;
        if local == length {
            return Ok(Cow::Borrowed(begin));
        }
        let mut row = begin.to_vec();
        let mut next = be32(page, at + local).ok_or(CUT)?;
        while row.len() < length {
            let page = self.page(next)?;
            let wanted = (length - row.len()).min(self.usable - 4);
            row.extend_from_slice(page.get(4..4 + wanted).ok_or(CUT)?);
            next = be32(page, 0).ok_or(CUT)?;
        }
        Ok(Cow::Owned(row))
    }

    /// How much of a row of this length is in its leaf.
    fn local(&self, length: usize) -> usize {
        let most = self.usable - 35;
        if length <= most {
            return length;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let some = least + (length - least) % (self.usable - 4);
        if some <= most { some } else { least }
    }

    fn page(&self, number: u32) -> Result<&'a [u8], Fault> {
        let start = (number as usize)
            .checked_sub(1)
            .and_then(|before| before.checked_mul(self.page));
        let start = start.ok_or(CUT)?;
        self.bytes.get(start..start + self.page).ok_or(CUT)
    }
}

/// What is said of a file that ends where something should be, or points there.
const CUT: Fault = "it is cut off or damaged";

/// The columns of a row. What does not fit its own description is left out.
fn columns(row: &[u8]) -> Vec<Value<'_>> {
    let mut columns = Vec::new();
    let Some((header, mut at)) = varint(row, 0) else {
        return columns;
    };
    let header = usize::try_from(header).unwrap_or(0).min(row.len());
    let mut data = header;
    while at < header {
        let Some((kind, next)) = varint(row, at) else {
            break;
        };
        at = next;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind as usize,
            5 => 6,
            6 | 7 => 8,
            _ => usize::try_from((kind.saturating_sub(12)) / 2).unwrap_or(usize::MAX),
        };
        let Some(bytes) = data.checked_add(length).and_then(|end| row.get(data..end)) else {
            break;
        };
        data += length;
        columns.push(match kind {
            1..=6 => Value::Integer(bytes.iter().fold(0, |value, byte| value << 8 | i64::from(*byte))),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            12.. => Value::Bytes(bytes),
            _ => Value::Other,
        });
    }
    columns
}

/// A number of 1 to 9 bytes, and where the next thing is.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for index in 0..9 {
        let byte = *bytes.get(at + index)?;
        if index == 8 {
            return Some((value << 8 | u64::from(byte), at + 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + index + 1));
        }
    }
    None
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}
