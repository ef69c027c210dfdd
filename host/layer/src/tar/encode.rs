//! One entry's header as bytes: POSIX pax, byte for byte as Go's `archive/tar` writes it for containerd.
//!
//! A header is plain ustar where that can say everything, and has an extended header before it where it cannot: a name
//! or link that is long or not ASCII, a number that its octal field is too small for, an extended attribute. The same
//! entries always give the same bytes.

use std::io;

use super::block::BLOCK;
use super::entry::EntryKind;

/// Bytes of the name and of the link in a header block.
const NAME: usize = 100;

/// Bytes of the part of the name that stands before its last slashes.
const PREFIX: usize = 155;

/// The largest extended header: what our reader, and Go's, will take.
const EXTENSION_MAX: usize = 1 << 20;

/// What an entry's header says.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// What the entry is.
    pub kind: EntryKind,
    /// Its name, without NUL; a folder's ends in a slash, another's does not.
    pub path: &'a [u8],
    /// The target of a link, without NUL; empty for other kinds.
    pub link: &'a [u8],
    /// The twelve permission bits.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Bytes of content that follow; 0 for all but files.
    pub size: u64,
    /// Last change of the content, in seconds since 1970.
    pub mtime: i64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes: name and value.
    pub xattrs: &'a [(&'a [u8], &'a [u8])],
}

/// Why an entry could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// What takes the bytes failed.
    #[error("the tar could not be written on: {0}")]
    Sink(#[from] io::Error),
    /// No tar header can say this.
    #[error("a tar cannot hold this entry: {problem}")]
    Unrepresentable {
        /// What there is no field for.
        problem: &'static str,
    },
    /// An entry's data are more or fewer bytes than its header said.
    #[error("an entry's data do not have the size that its header says")]
    WrongSize,
}

/// Zeros after `size` bytes, to the end of their last block.
pub(super) fn filling(size: u64) -> usize {
    let used = (size % BLOCK as u64) as usize;
    if used == 0 { 0 } else { BLOCK - used }
}

/// Writes the header, and the extended header that it may need before it.
pub(super) fn encode(header: &Header<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let unrepresentable = |problem| WriteError::Unrepresentable { problem };
    if header.path.contains(&0) || header.link.contains(&0) {
        return Err(unrepresentable("a name with a NUL in it"));
    }
    if !fits(u64::from(header.mode), 8)
        || !fits(header.device.0.into(), 8)
        || !fits(header.device.1.into(), 8)
    {
        return Err(unrepresentable("a mode or device number of more than 21 bits"));
    }
    let split = split_name(header.path);
    let mut block = if split.is_some() && !needs_records(header) {
        let (prefix, name) = split.unwrap_or_default();
        let mut block = fields(header, name, header.link);
        block[345..345 + prefix.len()].copy_from_slice(prefix);
        block
    } else {
        extension(header, out)?;
        fields(header, &ascii(header.path), &ascii(header.link))
    };
    seal(&mut block);
    out.extend_from_slice(&block);
    Ok(())
}

/// Whether `number` fits into an octal field of `width` bytes, of which the last is a NUL.
fn fits(number: u64, width: u32) -> bool {
    number < 1 << (3 * (width - 1))
}

/// Whether something other than the name does not fit into a header block.
fn needs_records(header: &Header<'_>) -> bool {
    !header.xattrs.is_empty()
        || header.link.len() > NAME
        || !header.link.is_ascii()
        || !fits(header.uid.into(), 8)
        || !fits(header.gid.into(), 8)
        || !fits(header.size, 12)
        || !u64::try_from(header.mtime).is_ok_and(|time| fits(time, 12))
}

/// The name as ustar keeps it: the part before one of its slashes, and the part after it. `None` if it cannot.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= NAME {
        return Some((b"", name));
    }
    let end = match name.len() {
        length if length > PREFIX + 1 => PREFIX + 1,
        length if name.ends_with(b"/") => length - 1,
        length => length,
    };
    let slash = name[..end].iter().rposition(|&byte| byte == b'/')?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    let is_good = !prefix.is_empty() && !rest.is_empty() && rest.len() <= NAME && prefix.len() <= PREFIX;
    is_good.then_some((prefix, rest))
}

/// A name as the header block of a reader without extended headers shows it.
fn ascii(name: &[u8]) -> Vec<u8> {
    name.iter().copied().filter(u8::is_ascii).collect()
}

/// The header block, without its checksum.
fn fields(header: &Header<'_>, name: &[u8], link: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[156] = flag(header.kind);
    put_text(&mut block[..NAME], name);
    put_text(&mut block[157..257], link);
    put_octal(&mut block[100..108], header.mode.into());
    put_octal(&mut block[108..116], header.uid.into());
    put_octal(&mut block[116..124], header.gid.into());
    put_octal(&mut block[124..136], header.size);
    put_octal(&mut block[136..148], u64::try_from(header.mtime).unwrap_or(0));
    put_octal(&mut block[329..337], header.device.0.into());
    put_octal(&mut block[337..345], header.device.1.into());
    block
}

fn flag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
        EntryKind::Other(flag) => flag,
    }
}

/// As much of the text as the field holds. Cut off at a slash it loses that: some readers would see a folder.
fn put_text(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
    if value.len() > length {
        let end = field
            .iter()
            .rposition(|&byte| byte != b'/')
            .map_or(0, |last| last + 1);
        if let Some(byte) = field.get_mut(end) {
            *byte = 0;
        }
    }
}

/// Octal digits with zeros before them and a NUL after them; 0 for what does not fit, which an extended header says.
fn put_octal(field: &mut [u8], number: u64) {
    let width = u32::try_from(field.len()).unwrap_or(1);
    let mut rest = if fits(number, width) { number } else { 0 };
    for byte in field.iter_mut().rev().skip(1) {
        *byte = b'0' + (rest % 8) as u8;
        rest /= 8;
    }
}

/// Puts the magic and the checksum in.
fn seal(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum = block.iter().map(|&byte| u64::from(byte)).sum();
    put_octal(&mut block[148..155], sum);
    // The one field that ends in a NUL and a space.
    block[154] = 0;
}

/// Writes the extended header: a block of its own, and the records.
fn extension(header: &Header<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let body = records(header);
    if body.len() > EXTENSION_MAX {
        return Err(WriteError::Unrepresentable {
            problem: "names and attributes of more than 1 MiB",
        });
    }
    let mut block = [0; BLOCK];
    let name = ascii(&extension_name(header.path));
    let name = &name[..name.len().min(NAME)];
    let end = name
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |last| last + 1);
    block[..end].copy_from_slice(&name[..end]);
    block[156] = b'x';
    for (from, to) in [(100, 108), (108, 116), (116, 124), (136, 148)] {
        put_octal(&mut block[from..to], 0);
    }
    put_octal(&mut block[124..136], body.len() as u64);
    seal(&mut block);
    out.extend_from_slice(&block);
    out.extend_from_slice(&body);
    out.resize(out.len() + filling(body.len() as u64), 0);
    Ok(())
}

/// What a reader that does not know extended headers unpacks them as.
fn extension_name(path: &[u8]) -> Vec<u8> {
    let start = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (folder, name) = path.split_at(start);
    let mut out = [folder, b"PaxHeaders.0"].concat();
    if !name.is_empty() {
        out.push(b'/');
        out.extend_from_slice(name);
    }
    out
}

/// The records that the header needs, sorted by their keys.
fn records(header: &Header<'_>) -> Vec<u8> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| pairs.push((key.to_vec(), value.to_vec()));
    for (key, value) in header.xattrs {
        add(&[b"SCHILY.xattr.", *key].concat(), value);
    }
    for (key, value) in [(&b"path"[..], header.path), (b"linkpath", header.link)] {
        if value.len() > NAME || !value.is_ascii() {
            add(key, value);
        }
    }
    for (key, number) in [(&b"uid"[..], header.uid), (b"gid", header.gid)] {
        if !fits(number.into(), 8) {
            add(key, number.to_string().as_bytes());
        }
    }
    if !fits(header.size, 12) {
        add(b"size", header.size.to_string().as_bytes());
    }
    if !u64::try_from(header.mtime).is_ok_and(|time| fits(time, 12)) {
        add(b"mtime", header.mtime.to_string().as_bytes());
    }
    pairs.sort();
    let mut body = Vec::new();
    for (key, value) in &pairs {
        record(key, value, &mut body);
    }
    body
}

/// One record; its length counts its own digits too.
fn record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) != length {
        length += 1;
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::super::block::text;
    use super::*;

    fn file(path: &[u8]) -> Header<'_> {
        Header {
            kind: EntryKind::File,
            path,
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            device: (0, 0),
            xattrs: &[],
        }
    }

    fn encoded(header: &Header<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(header, &mut out).unwrap();
        out
    }

    #[test]
    fn a_plain_header_is_one_block() {
        let out = encoded(&Header {
            size: 5,
            mtime: 1,
            uid: 0o7777777,
            ..file(b"a")
        });
        assert_eq!(out.len(), BLOCK);
        assert_eq!(&out[100..108], b"0000644\0");
        assert_eq!(&out[108..116], b"7777777\0");
        assert_eq!(&out[124..136], b"00000000005\0");
        assert_eq!(&out[257..265], b"ustar\x0000");
        assert_eq!(&out[154..156], b"\0 ");
        assert_eq!(&out[329..345], b"0000000\x000000000\0");
    }

    #[test]
    fn names_are_split_where_ustar_can() {
        let long = [&[b'd'; 90][..], b"/", &[b'f'; 90]].concat();
        let out = encoded(&file(&long));
        assert_eq!(out.len(), BLOCK);
        assert_eq!(text(&out[345..500]), &[b'd'; 90]);
        let name = [b'n'; 101];
        assert_eq!(split_name(&name), None, "nothing to split at");
        let folder = [&[b'd'; 100][..], b"/"].concat();
        assert_eq!(split_name(&folder), None, "nothing would be left of the name");
        let far = [&[b'd'; 156][..], b"/f"].concat();
        assert_eq!(split_name(&far), None, "the prefix is too long");
        let umlaut = "ä".as_bytes();
        assert_eq!(split_name(umlaut), None);
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in 0..2000 {
            let mut out = Vec::new();
            record(b"path", &vec![b'x'; length], &mut out);
            let shown = text(&out).split(|&byte| byte == b' ').next().unwrap().to_vec();
            assert_eq!(String::from_utf8(shown).unwrap(), out.len().to_string());
        }
    }

    #[test]
    fn records_are_sorted_and_only_what_is_needed() {
        let link = [b'l'; 101];
        let xattrs: [(&[u8], &[u8]); 1] = [(b"security.capability", b"\x01\n\0")];
        let body = records(&Header {
            link: &link,
            uid: 1 << 21,
            gid: 1 << 21,
            size: 1 << 33,
            mtime: -1,
            xattrs: &xattrs,
            ..file("ü".as_bytes())
        });
        let keys: Vec<String> = body
            .split(|&byte| byte == b' ')
            .skip(1)
            .map(|rest| {
                String::from_utf8_lossy(rest.split(|&byte| byte == b'=').next().unwrap()).into_owned()
            })
            .collect();
        let expected = [
            "SCHILY.xattr.security.capability",
            "gid",
            "linkpath",
            "mtime",
            "path",
            "size",
            "uid",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_name_that_is_cut_at_a_slash_is_no_folder() {
        let path = [&[b'd'; 99][..], b"/", &[b'f'; 200]].concat();
        let out = encoded(&file(&path));
        let last = &out[out.len() - BLOCK..];
        assert_eq!(text(&last[..100]), &[b'd'; 99]);
        assert_eq!(&out[..100], &[&[b'd'; 99][..], b"\0"].concat());
    }
}
