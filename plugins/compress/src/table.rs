//! The seek table: zstd's seekable format 0.1.0, a frame that decoders skip, at the end of the file.
//!
//! ```text
//! 5E 2A 4D 18 | length of the rest | compressed size, size; for each frame | number of frames | 0 | B1 EA 92 8F
//! ```
//!
//! All numbers have four bytes, the least first. Tables with checksums (a descriptor of 80) are read, too.

use transom_sdk::storage::StorageError;

const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;

/// Bytes at the very end that say how long the table is.
pub(crate) const FOOTER: usize = 9;

/// Bytes before its entries.
const HEAD: usize = 8;

/// Most frames: 1 TiB of content. The table of that takes 32 MiB.
const FRAMES: u64 = 1 << 22;

/// A frame: how much of what is kept it takes, and how much content it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kept: u32,
    pub(crate) content: u32,
}

/// The frames, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Table(pub(crate) Vec<Frame>);

impl Table {
    /// Appends the table to what is kept.
    pub(crate) fn write(&self, kept: &mut Vec<u8>) -> Result<(), StorageError> {
        if self.0.len() as u64 > FRAMES {
            return Err(StorageError::TooLarge(FRAMES * crate::FRAME as u64));
        }
        let length = self.0.len() as u32 * 8 + FOOTER as u32;
        for number in [SKIPPABLE, length] {
            kept.extend_from_slice(&number.to_le_bytes());
        }
        for frame in &self.0 {
            kept.extend_from_slice(&frame.kept.to_le_bytes());
            kept.extend_from_slice(&frame.content.to_le_bytes());
        }
        kept.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        kept.push(0);
        kept.extend_from_slice(&SEEKABLE.to_le_bytes());
        Ok(())
    }

    /// Bytes of the table, by the end of what is kept.
    pub(crate) fn length(end: &[u8]) -> Result<u64, StorageError> {
        let (_, footer) = end.split_last_chunk::<FOOTER>().ok_or_else(foreign)?;
        let [n0, n1, n2, n3, descriptor, magic @ ..] = *footer;
        let frames = u64::from(u32::from_le_bytes([n0, n1, n2, n3]));
        if u32::from_le_bytes(magic) != SEEKABLE || frames > FRAMES || descriptor & 0x7c != 0 {
            return Err(foreign());
        }
        Ok(HEAD as u64 + frames * entry(descriptor) as u64 + FOOTER as u64)
    }

    /// Reads the table, which is all of `bytes`. `kept` is how much is kept in all.
    pub(crate) fn read(bytes: &[u8], kept: u64) -> Result<Table, StorageError> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or_else(foreign)?;
        let (entries, footer) = rest.split_last_chunk::<FOOTER>().ok_or_else(foreign)?;
        let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if number(head) != SKIPPABLE || number(&head[4..]) as usize != rest.len() {
            return Err(foreign());
        }
        let frames = entries.chunks_exact(entry(footer[4])).map(|entry| Frame {
            kept: number(entry),
            content: number(&entry[4..]),
        });
        let table = Table(frames.collect());
        let sum: u64 = table.0.iter().map(|frame| u64::from(frame.kept)).sum();
        match sum + bytes.len() as u64 == kept {
            true => Ok(table),
            false => Err(StorageError::damaged(
                "its frames and its table do not fit together: it was cut or changed",
            )),
        }
    }

    /// Bytes of content.
    pub(crate) fn size(&self) -> u64 {
        self.0.iter().map(|frame| u64::from(frame.content)).sum()
    }

    /// The frame with this byte of the content, where it begins in what is kept, and the bytes before it in the frame.
    pub(crate) fn find(&self, offset: u64) -> (usize, u64, u64) {
        let (mut position, mut before) = (0, 0);
        for (number, frame) in self.0.iter().enumerate() {
            if offset - before < u64::from(frame.content) {
                return (number, position, offset - before);
            }
            position += u64::from(frame.kept);
            before += u64::from(frame.content);
        }
        (self.0.len(), position, 0)
    }
}

/// Bytes of an entry.
fn entry(descriptor: u8) -> usize {
    if descriptor & 0x80 == 0 { 8 } else { 12 }
}

fn foreign() -> StorageError {
    StorageError::damaged("it has no table of frames at its end: it was cut, or is another's")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (Table, Vec<u8>) {
        let frames = [(10, 100), (20, 100), (5, 7)];
        let table = Table(frames.map(|(kept, content)| Frame { kept, content }).to_vec());
        let mut bytes = Vec::new();
        table.write(&mut bytes).unwrap();
        (table, bytes)
    }

    #[test]
    fn a_table_is_found_and_read() {
        let (table, bytes) = table();
        assert_eq!(Table::length(&bytes).unwrap(), bytes.len() as u64);
        assert_eq!(Table::read(&bytes, bytes.len() as u64 + 35).unwrap(), table);
        assert_eq!(table.size(), 207);
        for (offset, found) in [
            (0, (0, 0, 0)),
            (99, (0, 0, 99)),
            (100, (1, 10, 0)),
            (206, (2, 30, 6)),
            (207, (3, 35, 0)),
        ] {
            assert_eq!(table.find(offset), found, "{offset}");
        }
    }

    #[test]
    fn what_does_not_fit_is_damaged() {
        let (_, bytes) = table();
        assert!(Table::read(&bytes, bytes.len() as u64 + 34).is_err());
        assert!(Table::length(&bytes[..bytes.len() - 1]).is_err());
        assert!(Table::length(b"short").is_err());
        let mut many = bytes;
        let at = many.len() - FOOTER;
        many[at..at + 4].fill(0xff);
        assert!(Table::length(&many).is_err());
    }
}
