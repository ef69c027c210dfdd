//! The database of rpm: the header of each package, in a file of SQLite (Fedora, RHEL 9 and their kin) or of ndb (SUSE).
//!
//! The Berkeley DB of older systems (`Packages`) is not read.

mod ndb;
mod sqlite;

use crate::package::{Kind, Package};

/// Where the parts of a header are: tags of rpm.
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const LICENCE: u32 = 1014;
const ARCHITECTURE: u32 = 1022;
const SOURCE: u32 = 1044;

/// Bytes of an entry in a header's index.
const ENTRY: usize = 16;

/// What cannot be read, for people.
pub(crate) type Fault = &'static str;

/// The packages of a database in SQLite.
pub(crate) fn read_sqlite(bytes: &[u8]) -> Result<Vec<Package>, Fault> {
    let mut packages = Vec::new();
    sqlite::Database::open(bytes)?.each_blob("Packages", &mut |blob| packages.extend(package(&blob)))?;
    Ok(packages)
}

/// The packages of a database in ndb.
pub(crate) fn read_ndb(bytes: &[u8]) -> Result<Vec<Package>, Fault> {
    let mut packages = Vec::new();
    ndb::each_blob(bytes, &mut |blob| packages.extend(package(blob)))?;
    Ok(packages)
}

/// The package that a header describes; nothing for what is none, such as the keys that packages are signed with.
fn package(bytes: &[u8]) -> Option<Package> {
    let header = Header::parse(bytes)?;
    let name = header.text(NAME)?;
    if name == "gpg-pubkey" {
        return None;
    }
    let version = format!("{}-{}", header.text(VERSION)?, header.text(RELEASE)?);
    let mut package = Package::new(Kind::Rpm, name, version);
    package.epoch = header.number(EPOCH);
    package.licence = header.text(LICENCE).map(str::to_owned);
    package.architecture = header.text(ARCHITECTURE).map(str::to_owned);
    package.source = header.text(SOURCE).map(str::to_owned);
    Some(package)
}

/// A header: an index of tags, and what they point at. All numbers are big-endian.
struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Header<'a>> {
        let entries = be32(bytes, 0)? as usize;
        let length = be32(bytes, 4)? as usize;
        let index_end = entries.checked_mul(ENTRY)?.checked_add(8)?;
        Some(Header {
            index: bytes.get(8..index_end)?,
            data: bytes.get(index_end..index_end.checked_add(length)?)?,
        })
    }

    fn data(&self, tag: u32) -> Option<&'a [u8]> {
        let mut entries = self.index.chunks_exact(ENTRY);
        let entry = entries.find(|entry| be32(entry, 0) == Some(tag))?;
        self.data.get(be32(entry, 8)? as usize..)
    }

    fn text(&self, tag: u32) -> Option<&'a str> {
        let data = self.data(tag)?;
        let end = data.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&data[..end]).ok()
    }

    fn number(&self, tag: u32) -> Option<u32> {
        be32(self.data(tag)?, 0)
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
