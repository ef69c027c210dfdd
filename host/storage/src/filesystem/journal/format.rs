//! The journal's file: two headers and then records, one after the other.
//!
//! | bytes | content |
//! |---|---|
//! | 0 and 4096 | headers, written in turn: of those that are whole the one with the larger `turn` counts |
//! | from 8192 on | records of the header's generation, numbered from `first` on; one that is not whole is the end |
//!
//! Numbers are little-endian; a SHA-256 over everything else says whether a header or a record is whole. Nothing is ever written
//! over that a header still counts on, so a write that a power cut broke off costs nothing but itself.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::limits::JOURNAL_BYTES;
use crate::{Put, StoragePath};

const MAGIC: &[u8; 8] = b"transomj";
const SLOT: u64 = 4096;
/// Where records begin.
pub(super) const RECORDS: u64 = 2 * SLOT;
const HASH: usize = 32;
/// Length, generation and number.
const RECORD_HEAD: usize = 4 + 8 + 8;

/// What counts of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Grows with each header.
    pub(super) turn: u64,
    /// Records of others do not count.
    pub(super) generation: u64,
    /// The number of the first record.
    pub(super) first: u64,
    /// Records up to this one do not count: what they say is on the disk.
    pub(super) retired: u64,
    /// Where the files were: nothing was lost as long as a process is there again.
    pub(super) place: Vec<u8>,
}

impl Header {
    /// Writes it over the older one of the two, and returns when it is on the disk.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for number in [
            self.turn,
            self.generation,
            self.first,
            self.retired,
            self.place.len() as u64,
        ] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(&self.place);
        bytes.extend(Sha256::digest(&bytes));
        file.write_all_at(&bytes, self.turn % 2 * SLOT)?;
        file.sync_data()
    }

    fn read(file: &File, slot: u64) -> io::Result<Option<Header>> {
        let mut bytes = vec![0; SLOT as usize];
        match file.read_exact_at(&mut bytes, slot * SLOT) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        Ok(Header::decode(&bytes))
    }

    fn decode(bytes: &[u8]) -> Option<Header> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let mut number = || take(&mut rest, 8).map(long);
        let (turn, generation, first) = (number()?, number()?, number()?);
        let (retired, length) = (number()?, number()?);
        let place = take(&mut rest, usize::try_from(length).ok()?)?.to_vec();
        let whole = bytes.len() - rest.len();
        (take(&mut rest, HASH)? == Sha256::digest(&bytes[..whole]).as_slice()).then_some(Header {
            turn,
            generation,
            first,
            retired,
            place,
        })
    }
}

/// The header that counts, and the records that it counts on; nothing if the file was never used.
pub(super) fn read(file: &File) -> io::Result<Option<(Header, Vec<Vec<Put>>)>> {
    let headers = [Header::read(file, 0)?, Header::read(file, 1)?];
    let Some(header) = headers.into_iter().flatten().max_by_key(|header| header.turn) else {
        return Ok(None);
    };
    let length = file.metadata()?.len().clamp(RECORDS, RECORDS + JOURNAL_BYTES);
    let mut bytes = vec![0; (length - RECORDS) as usize];
    file.read_exact_at(&mut bytes, RECORDS)?;
    let (mut rest, mut records) = (&bytes[..], Vec::new());
    for number in header.first.. {
        let Some(puts) = decode(&mut rest, header.generation, number) else {
            break;
        };
        if number > header.retired {
            records.push(puts);
        }
    }
    Ok(Some((header, records)))
}

/// Appends a record to what is to be written.
pub(super) fn encode(to: &mut Vec<u8>, generation: u64, number: u64, puts: &[Put]) {
    let begin = to.len();
    to.extend([0; 4]);
    to.extend(generation.to_le_bytes());
    to.extend(number.to_le_bytes());
    for put in puts {
        let path = put.path.as_str().as_bytes();
        for length in [path.len(), put.content.len()] {
            to.extend((length as u32).to_le_bytes());
        }
        to.extend(path);
        to.extend(&put.content);
    }
    let length = (to.len() - begin) as u32;
    to[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    let hash = Sha256::digest(&to[begin..]);
    to.extend(hash);
}

/// Bytes that a record takes.
pub(super) fn length(puts: &[Put]) -> u64 {
    let contents = puts
        .iter()
        .map(|put| 8 + put.path.as_str().len() + put.content.len());
    (RECORD_HEAD + HASH + contents.sum::<usize>()) as u64
}

/// The record that `rest` begins with, if it is the one that is wanted, and whole.
fn decode(rest: &mut &[u8], generation: u64, number: u64) -> Option<Vec<Put>> {
    let length = short(rest.get(..4)?);
    let record = take(rest, length)?;
    if take(rest, HASH)? != Sha256::digest(record).as_slice() {
        return None;
    }
    let mut inside = record.get(4..)?;
    let mut next = || take(&mut inside, 8).map(long);
    if (next()?, next()?) != (generation, number) {
        return None;
    }
    let mut puts = Vec::new();
    while !inside.is_empty() {
        let (path, content) = (short(take(&mut inside, 4)?), short(take(&mut inside, 4)?));
        let path = std::str::from_utf8(take(&mut inside, path)?).ok()?;
        puts.push(Put {
            path: StoragePath::new(path).ok()?,
            content: Bytes::copy_from_slice(take(&mut inside, content)?),
        });
    }
    Some(puts)
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn long(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn short(bytes: &[u8]) -> usize {
    long(bytes) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &str, content: &'static [u8]) -> Put {
        Put {
            path: StoragePath::new(path).unwrap(),
            content: Bytes::from_static(content),
        }
    }

    fn written(records: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        // A journal has its whole length before its first header.
        file.set_len(2 * RECORDS).unwrap();
        file.write_all_at(records, RECORDS).unwrap();
        file
    }

    #[test]
    fn what_is_whole_and_not_retired_counts() {
        let (one, two, three) = (
            [put("/a", b"1"), put("/b", b"")],
            [put("/a", b"2")],
            [put("/c", b"3")],
        );
        let mut bytes = Vec::new();
        for (number, puts) in [&one[..], &two, &three].into_iter().enumerate() {
            let before = bytes.len() as u64;
            encode(&mut bytes, 7, number as u64 + 11, puts);
            assert_eq!(bytes.len() as u64 - before, length(puts));
        }
        let file = written(&bytes);
        assert_eq!(read(&file).unwrap(), None);
        let mut header = Header {
            turn: 4,
            generation: 7,
            first: 11,
            retired: 11,
            place: b"here".to_vec(),
        };
        header.write(&file).unwrap();
        let counted = vec![two.to_vec(), three.to_vec()];
        assert_eq!(read(&file).unwrap(), Some((header.clone(), counted)));
        // A cut or a flipped bit ends it.
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            let file = written(&broken);
            header.write(&file).unwrap();
            let counted = usize::from(at as u64 >= length(&one) + length(&two));
            assert_eq!(read(&file).unwrap().unwrap().1.len(), counted, "{at}");
        }
        // Records of another time do not count.
        (header.turn, header.generation) = (5, 8);
        header.write(&file).unwrap();
        assert_eq!(read(&file).unwrap(), Some((header, Vec::new())));
    }

    #[test]
    fn a_header_that_was_not_written_to_its_end_leaves_the_one_before() {
        let file = written(&[]);
        let mut header = Header::default();
        for turn in 1..6 {
            header.turn = turn;
            header.retired = turn * 10;
            header.write(&file).unwrap();
            assert_eq!(read(&file).unwrap().unwrap().0, header);
        }
        file.write_all_at(b"x", SLOT + 30).unwrap();
        assert_eq!(read(&file).unwrap().unwrap().0.turn, 4);
    }
}
