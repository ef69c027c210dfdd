//! One pass over the headers of a tar archive, seeking over the data. The `tar` crate reads the header's fields;
//! the walk is our own because extended headers must be bounded before they are read into memory, and because
//! PAX values may hold line feeds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use tar::{EntryType, Header};

use crate::error::ImageError;
use crate::limits;

const BLOCK: u64 = 512;

/// A member of an archive, its extended headers applied.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: MemberKind,
}

#[derive(Debug)]
pub(crate) enum MemberKind {
    File { offset: u64, size: u64 },
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
}

/// Reads header after header.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a File,
    length: u64,
    origin: &'a str,
    position: u64,
}

/// What extended headers say about the member that follows them.
#[derive(Default)]
struct Extension {
    gnu_name: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
    pax_name: Option<Vec<u8>>,
    pax_link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(file: &'a File, length: u64, origin: &'a str) -> Scanner<'a> {
        Scanner {
            file,
            length,
            origin,
            position: 0,
        }
    }

    /// The next member that is a file or a link; folders and devices hold no image and are passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, ImageError> {
        let mut extension = Extension::default();
        loop {
            let at = self.position;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let entry_type = header.entry_type();
            match entry_type {
                EntryType::GNULongName => extension.gnu_name = Some(self.long_name(&header)?),
                EntryType::GNULongLink => extension.gnu_link = Some(self.long_name(&header)?),
                EntryType::XHeader => self.pax(&header, &mut extension)?,
                EntryType::GNUSparse => return Err(self.sparse(at)),
                _ => {
                    let extension = std::mem::take(&mut extension);
                    if let Some(member) = self.member(at, &header, extension)? {
                        return Ok(Some(member));
                    }
                }
            }
        }
    }

    /// The header at the position, which moves behind it; `None` at the archive's end.
    fn header(&mut self) -> Result<Option<Header>, ImageError> {
        if self.position == self.length {
            // Some writers leave the two blocks of zeros out, and tar programs take that.
            return Ok(None);
        }
        let mut block = [0; BLOCK as usize];
        if self.length - self.position < BLOCK {
            return Err(self.broken(self.position, "the last header is incomplete"));
        }
        self.read_at(&mut block, self.position)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        if header.cksum().ok() != Some(checksum(&block)) {
            return Err(self.broken(self.position, "the header's checksum is wrong"));
        }
        self.position += BLOCK;
        Ok(Some(header))
    }

    fn member(
        &mut self,
        at: u64,
        header: &Header,
        extension: Extension,
    ) -> Result<Option<Member>, ImageError> {
        let entry_type = header.entry_type();
        let name = extension.gnu_name.or(extension.pax_name);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let stored = match extension.size {
            Some(size) => size,
            None => self.size(header)?,
        };
        // Links and special files have no data, whatever their size field says (POSIX, "ustar").
        let size = match entry_type {
            EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Fifo
            | EntryType::Directory => 0,
            _ => stored,
        };
        let offset = self.position;
        self.skip(size, &name)?;
        let link = || {
            let link = extension.gnu_link.or(extension.pax_link);
            let link = link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
            link.ok_or_else(|| self.broken(at, "a link has no target"))
        };
        let kind = match entry_type {
            // Before POSIX a folder was a file whose name ends in a slash.
            EntryType::Regular | EntryType::Continuous if !name.ends_with(b"/") => {
                MemberKind::File { offset, size }
            }
            EntryType::Symlink => MemberKind::Symlink(link()?),
            EntryType::Link => MemberKind::HardLink(link()?),
            _ => return Ok(None),
        };
        Ok(Some(Member { name, kind }))
    }

    fn size(&self, header: &Header) -> Result<u64, ImageError> {
        let at = self.position - BLOCK;
        header
            .entry_size()
            .map_err(|error| self.broken(at, &format!("invalid size: {error}")))
    }

    /// Moves behind `size` bytes of data and their padding.
    fn skip(&mut self, size: u64, name: &[u8]) -> Result<(), ImageError> {
        if size > self.length - self.position {
            return Err(ImageError::ArchiveTruncated {
                origin: self.origin.to_owned(),
                member: String::from_utf8_lossy(name).into_owned(),
            });
        }
        let padded = size.next_multiple_of(BLOCK);
        // The padding of the last member may be missing.
        self.position = self.length.min(self.position + padded);
        Ok(())
    }

    fn extension_data(&mut self, header: &Header) -> Result<Vec<u8>, ImageError> {
        let size = self.size(header)?;
        if size > limits::ARCHIVE_EXTENSION_BYTES_MAX {
            return Err(ImageError::ArchiveLimit {
                origin: self.origin.to_owned(),
                what: "bytes in one extended header",
                limit: limits::ARCHIVE_EXTENSION_BYTES_MAX,
            });
        }
        let offset = self.position;
        self.skip(size, b"(extended header)")?;
        let mut data = vec![0; usize::try_from(size).expect("the limit fits")];
        self.read_at(&mut data, offset)?;
        Ok(data)
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>, ImageError> {
        let mut name = self.extension_data(header)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    fn pax(&mut self, header: &Header, extension: &mut Extension) -> Result<(), ImageError> {
        let at = self.position - BLOCK;
        let data = self.extension_data(header)?;
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            let (key, value, after) =
                pax_record(rest).ok_or_else(|| self.broken(at, "a PAX record is invalid"))?;
            match key {
                b"path" => extension.pax_name = Some(value.to_vec()),
                b"linkpath" => extension.pax_link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    extension.size = Some(size.ok_or_else(|| self.broken(at, "a PAX size is not a number"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(self.sparse(at)),
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ImageError> {
        let read = self.file.read_exact_at(buffer, offset);
        read.map_err(|source: io::Error| ImageError::Io {
            action: "read",
            path: self.origin.into(),
            source,
        })
    }

    fn sparse(&self, at: u64) -> ImageError {
        self.broken(
            at,
            "sparse members are not supported here, write it without --sparse",
        )
    }

    fn broken(&self, offset: u64, problem: &str) -> ImageError {
        ImageError::Archive {
            origin: self.origin.to_owned(),
            offset,
            problem: problem.to_owned(),
        }
    }
}

/// Whether a file begins as a tar archive does: with a valid header or the zeros of an empty archive.
pub(crate) fn is_tar(file: &File) -> io::Result<bool> {
    let mut block = [0; BLOCK as usize];
    match file.read_exact_at(&mut block, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(block.iter().all(|byte| *byte == 0)
            || Header::from_byte_slice(&block).cksum().ok() == Some(checksum(&block))),
    }
}

/// The sum of a header's bytes, its checksum field counted as spaces.
fn checksum(block: &[u8; BLOCK as usize]) -> u32 {
    const FIELD: std::ops::Range<usize> = 148..156;
    let sum = |bytes: &[u8]| bytes.iter().copied().map(u32::from).sum::<u32>();
    sum(&block[..FIELD.start]) + sum(&block[FIELD.end..]) + FIELD.len() as u32 * u32::from(b' ')
}

/// Splits `<length> <key>=<value>\n`, where the length counts the whole record, from what follows it.
fn pax_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    const LENGTH_DIGITS_MAX: usize = 20;
    let space = data
        .iter()
        .take(LENGTH_DIGITS_MAX)
        .position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &data[length..]))
}
