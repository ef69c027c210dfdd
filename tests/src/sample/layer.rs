//! Writing one layer: its tar, and at the same time what it changes in the model.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use tar::{EntryType, Header};
use transom_oci::{Algorithm, Digest};

use super::model::Model;
use crate::tree::{Kind, shown};

/// The attributes of a file in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The twelve permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Last modification, in seconds since 1970; not negative.
    pub mtime: i64,
    /// And nanoseconds; when not 0 the entry gets a PAX record.
    pub mtime_nsec: u32,
    /// Extended attributes, as `SCHILY.xattr.` PAX records.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The time of generated files: 2023-11-14 22:13:20 UTC.
const GENERATED: i64 = 1_700_000_000;

impl Meta {
    /// Root's, from a fixed time.
    #[must_use]
    pub fn new(mode: u32) -> Meta {
        Meta {
            mode,
            uid: 0,
            gid: 0,
            mtime: GENERATED,
            mtime_nsec: 0,
            xattrs: BTreeMap::new(),
        }
    }

    /// The same with an extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Meta {
        self.xattrs.insert(name.as_bytes().to_vec(), value.to_vec());
        self
    }

    /// The same with another time.
    #[must_use]
    pub fn at(mut self, mtime: i64, mtime_nsec: u32) -> Meta {
        (self.mtime, self.mtime_nsec) = (mtime, mtime_nsec);
        self
    }

    /// The same with another owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Meta {
        (self.uid, self.gid) = (uid, gid);
        self
    }
}

/// How a name that does not fit the header's 100 bytes is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongNames {
    /// As GNU tar's `././@LongLink` entries.
    Gnu,
    /// As PAX records.
    #[default]
    Pax,
}

/// Writes the entries of one layer. Paths are relative, without `.` or a slash at either end. Directories on
/// the way to a name are written first, when this layer has not done so: with the attributes they already
/// have, else with 0755. So every directory whose content changes is in the layer, and its time is known.
#[derive(Debug)]
pub struct LayerWriter<'a> {
    tar: Vec<u8>,
    model: &'a mut Model,
    written: BTreeSet<Vec<u8>>,
    /// How long names are written from here on.
    pub long_names: LongNames,
}

impl<'a> LayerWriter<'a> {
    pub(super) fn new(model: &'a mut Model) -> LayerWriter<'a> {
        LayerWriter {
            tar: Vec::new(),
            model,
            written: BTreeSet::new(),
            long_names: LongNames::default(),
        }
    }

    /// The whole tar, with the two empty blocks at its end.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.tar.extend_from_slice(&[0; 2 * BLOCK]);
        self.tar
    }

    /// Writes a directory.
    pub fn dir(&mut self, path: &[u8], meta: &Meta) {
        self.parents(path);
        let name = [path, b"/"].concat();
        self.entry(&name, EntryType::Directory, meta, &[], &[]);
        self.put(path, Kind::Dir, meta);
    }

    /// Writes a regular file.
    pub fn file(&mut self, path: &[u8], meta: &Meta, content: &[u8]) {
        self.parents(path);
        self.entry(path, EntryType::Regular, meta, &[], content);
        self.put(path, file_of(content), meta);
    }

    /// Writes a symbolic link.
    pub fn symlink(&mut self, path: &[u8], meta: &Meta, target: &[u8]) {
        self.parents(path);
        self.entry(path, EntryType::Symlink, meta, target, &[]);
        let target = target.to_vec();
        self.put(path, Kind::Symlink { target }, meta);
    }

    /// Writes another name for a file that is already there, in this layer or below.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn hard_link(&mut self, path: &[u8], to: &[u8]) -> io::Result<()> {
        let meta = match self.model.get(to) {
            Some((kind, meta)) if *kind != Kind::Dir => meta.clone(),
            _ => return Err(io::Error::other(format!("no file {} to link to", shown(to)))),
        };
        self.parents(path);
        self.entry(path, EntryType::Link, &meta, to, &[]);
        self.model.link(path, to);
        self.written.insert(path.to_vec());
        Ok(())
    }

    /// Writes a named pipe.
    pub fn fifo(&mut self, path: &[u8], meta: &Meta) {
        self.parents(path);
        self.entry(path, EntryType::Fifo, meta, &[], &[]);
        self.put(path, Kind::Fifo, meta);
    }

    /// Writes a character device.
    ///
    /// # Errors
    /// If the numbers do not fit the header.
    pub fn char_device(&mut self, path: &[u8], meta: &Meta, major: u32, minor: u32) -> io::Result<()> {
        self.parents(path);
        let mut header = self.header(path, EntryType::Char, meta, &[], 0);
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
        self.append(&mut header, &[]);
        self.put(path, Kind::CharDevice { major, minor }, meta);
        Ok(())
    }

    /// Writes a sparse file in GNU tar's old form: at most three pieces of data, in order, each at an offset.
    ///
    /// # Errors
    /// If there are more pieces.
    pub fn sparse_gnu(
        &mut self,
        path: &[u8],
        meta: &Meta,
        size: u64,
        pieces: &[(u64, &[u8])],
    ) -> io::Result<()> {
        self.parents(path);
        let pieces = &ended(size, pieces);
        let data: Vec<u8> = pieces
            .iter()
            .flat_map(|(_, bytes)| bytes.iter().copied())
            .collect();
        let mut header = self.header(path, EntryType::GNUSparse, meta, &[], data.len() as u64);
        let gnu = header
            .as_gnu_mut()
            .ok_or_else(|| io::Error::other("not a GNU header"))?;
        if pieces.len() > gnu.sparse.len() {
            return Err(io::Error::other(
                "more pieces than the header of a sparse file holds",
            ));
        }
        for (slot, (offset, bytes)) in gnu.sparse.iter_mut().zip(pieces) {
            octal(&mut slot.offset, *offset);
            octal(&mut slot.numbytes, bytes.len() as u64);
        }
        octal(&mut gnu.realsize, size);
        self.append(&mut header, &data);
        self.put(path, file_of(&expand(size, pieces)), meta);
        Ok(())
    }

    /// Writes a sparse file in GNU tar's PAX form 1.0: pieces of data, in order, each at an offset.
    pub fn sparse_pax(&mut self, path: &[u8], meta: &Meta, size: u64, pieces: &[(u64, &[u8])]) {
        self.parents(path);
        let pieces = &ended(size, pieces);
        let mut data = format!("{}\n", pieces.len()).into_bytes();
        for (offset, bytes) in pieces {
            data.extend_from_slice(format!("{offset}\n{}\n", bytes.len()).as_bytes());
        }
        pad(&mut data);
        for (_, bytes) in pieces {
            data.extend_from_slice(bytes);
        }
        let mut records = pax_records(meta);
        records.push((b"GNU.sparse.major".to_vec(), b"1".to_vec()));
        records.push((b"GNU.sparse.minor".to_vec(), b"0".to_vec()));
        records.push((b"GNU.sparse.name".to_vec(), path.to_vec()));
        records.push((b"GNU.sparse.realsize".to_vec(), size.to_string().into_bytes()));
        self.append_pax(&records);
        let mut header = bare_header(b"GNUSparseFile.0", EntryType::Regular, meta, data.len() as u64);
        self.append(&mut header, &data);
        self.put(path, file_of(&expand(size, pieces)), meta);
    }

    /// Writes a whiteout: the name, and all under it, is no longer there.
    pub fn whiteout(&mut self, path: &[u8]) {
        self.parents(path);
        let (parent, name) = split(path);
        let marker = [parent, if parent.is_empty() { b"" } else { b"/" }, b".wh.", name].concat();
        self.entry(&marker, EntryType::Regular, &Meta::new(0o644), &[], &[]);
        self.model.remove(path);
    }

    /// Writes an opaque marker: of what lower layers have under the directory, nothing is there any more.
    pub fn opaque(&mut self, path: &[u8]) {
        let marker = [path, b"/.wh..wh..opq"].concat();
        self.parents(&marker);
        self.entry(&marker, EntryType::Regular, &Meta::new(0o644), &[], &[]);
        self.model.remove_children(path, &self.written);
    }

    fn put(&mut self, path: &[u8], kind: Kind, meta: &Meta) {
        self.model.put(path, kind, meta.clone());
        self.written.insert(path.to_vec());
    }

    fn parents(&mut self, path: &[u8]) {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for end in slashes.map(|(at, _)| at).collect::<Vec<_>>() {
            let parent = &path[..end];
            if !self.written.contains(parent) {
                let meta = match self.model.get(parent) {
                    Some((Kind::Dir, meta)) => meta.clone(),
                    _ => Meta::new(0o755),
                };
                self.dir(parent, &meta);
            }
        }
    }

    fn entry(&mut self, path: &[u8], kind: EntryType, meta: &Meta, link: &[u8], data: &[u8]) {
        let mut header = self.header(path, kind, meta, link, data.len() as u64);
        self.append(&mut header, data);
    }

    /// Writes what must go before a header, and gives the header.
    fn header(&mut self, path: &[u8], kind: EntryType, meta: &Meta, link: &[u8], size: u64) -> Header {
        let mut records = pax_records(meta);
        for (record, flag, value) in [("linkpath", b'K', link), ("path", b'L', path)] {
            if value.len() <= NAME_MAX {
                continue;
            }
            match self.long_names {
                LongNames::Pax => records.push((record.into(), value.to_vec())),
                LongNames::Gnu => {
                    let text = [value, b"\0"].concat();
                    let kind = EntryType::new(flag);
                    let size = text.len() as u64;
                    let mut header = bare_header(b"././@LongLink", kind, &Meta::new(0o644).at(0, 0), size);
                    self.append(&mut header, &text);
                }
            }
        }
        if !records.is_empty() {
            self.append_pax(&records);
        }
        let mut header = bare_header(path, kind, meta, size);
        let shortened = &link[..link.len().min(NAME_MAX)];
        header.as_old_mut().linkname[..shortened.len()].copy_from_slice(shortened);
        header
    }

    fn append_pax(&mut self, records: &[(Vec<u8>, Vec<u8>)]) {
        let mut data = Vec::new();
        for (key, value) in records {
            data.extend_from_slice(&pax_line(key, value));
        }
        let meta = Meta::new(0o644).at(0, 0);
        let mut header = bare_header(b"PaxHeaders/entry", EntryType::XHeader, &meta, data.len() as u64);
        self.append(&mut header, &data);
    }

    fn append(&mut self, header: &mut Header, data: &[u8]) {
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(data);
        pad(&mut self.tar);
    }
}

/// The unit of a tar.
const BLOCK: usize = 512;
/// The bytes of a name that a header holds.
const NAME_MAX: usize = 100;

fn bare_header(path: &[u8], kind: EntryType, meta: &Meta, size: u64) -> Header {
    // GNU tar takes PAX records about sparse files only where the header is POSIX's.
    let mut header = match kind {
        EntryType::GNUSparse | EntryType::GNULongName | EntryType::GNULongLink => Header::new_gnu(),
        _ => Header::new_ustar(),
    };
    let shortened = &path[..path.len().min(NAME_MAX)];
    header.as_old_mut().name[..shortened.len()].copy_from_slice(shortened);
    header.set_entry_type(kind);
    header.set_mode(meta.mode);
    header.set_uid(meta.uid.into());
    header.set_gid(meta.gid.into());
    header.set_size(size);
    header.set_mtime(u64::try_from(meta.mtime).unwrap_or(0));
    header
}

fn pax_records(meta: &Meta) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    if meta.mtime_nsec != 0 {
        let time = format!("{}.{:09}", meta.mtime, meta.mtime_nsec);
        records.push((b"mtime".to_vec(), time.into_bytes()));
    }
    for (name, value) in &meta.xattrs {
        records.push(([b"SCHILY.xattr.", &name[..]].concat(), value.clone()));
    }
    records
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn pax_line(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn octal(field: &mut [u8; 12], value: u64) {
    field.copy_from_slice(format!("{value:011o}\0").as_bytes());
}

fn pad(data: &mut Vec<u8>) {
    data.resize(data.len().next_multiple_of(BLOCK), 0);
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn file_of(content: &[u8]) -> Kind {
    Kind::File {
        size: content.len() as u64,
        digest: Digest::of(Algorithm::Sha256, content),
    }
}

/// The pieces, with an empty one at the end of a file that ends with a hole, as GNU tar writes them.
fn ended<'a>(size: u64, pieces: &[(u64, &'a [u8])]) -> Vec<(u64, &'a [u8])> {
    let mut pieces = pieces.to_vec();
    if pieces
        .last()
        .is_none_or(|(offset, bytes)| offset + (bytes.len() as u64) < size)
    {
        pieces.push((size, &[]));
    }
    pieces
}

/// The content of a sparse file.
fn expand(size: u64, pieces: &[(u64, &[u8])]) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(size).expect("a sample file fits the memory")];
    for (offset, bytes) in pieces {
        let start = usize::try_from(*offset).expect("an offset in a sample file fits the memory");
        content[start..start + bytes.len()].copy_from_slice(bytes);
    }
    content
}
