//! Headers of an archive: nothing in them but name, kind, mode and size, so that the same images give the same bytes.

use tar::{EntryType, Header};

/// A block of a tar.
const BLOCK: u64 = 512;

/// The largest size that the field of a plain header takes: eleven octal digits.
const SIZE_MAX: u64 = (1 << 33) - 1;

/// Longest name that a plain header takes.
const NAME_BYTES: usize = 100;

/// The header of a file, with one before it where size or name need that: a sha512 digest does.
pub(super) fn file(name: &str, mode: u32, size: u64) -> Vec<u8> {
    let (mut records, mut short, mut plain) = (String::new(), name, size);
    if size > SIZE_MAX {
        records += &record("size", &size.to_string());
        // Readers that know the record do not look at the field.
        plain = 0;
    }
    if name.len() > NAME_BYTES {
        records += &record("path", name);
        short = &name[..NAME_BYTES];
    }
    let mut bytes = Vec::new();
    if !records.is_empty() {
        let length = records.len() as u64;
        bytes = header("PaxHeaders.0/file", EntryType::XHeader, 0o644, length);
        bytes.extend_from_slice(records.as_bytes());
        bytes.extend_from_slice(padding(length));
    }
    bytes.extend(header(short, EntryType::Regular, mode, plain));
    bytes
}

/// The header of a folder, whose name ends in a slash.
pub(super) fn folder(name: &str) -> Vec<u8> {
    header(name, EntryType::Directory, 0o755, 0)
}

/// What follows the bytes of a file of this size.
pub(super) fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
    let length = size.wrapping_neg() % BLOCK;
    &ZEROS[..usize::try_from(length).unwrap_or_default()]
}

/// The end of an archive.
pub(super) fn end() -> &'static [u8] {
    &[0; 2 * BLOCK as usize]
}

fn header(name: &str, kind: EntryType, mode: u32, size: u64) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// `<length> <key>=<value>\n`, where the length counts the whole record.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    loop {
        let record = format!("{length}{rest}");
        if record.len() == length {
            return record;
        }
        length = record.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use transom_layer::tar::{Reader, TarLimits};

    #[test]
    fn large_files_and_long_names_have_a_header_more() {
        let long = format!("blobs/sha512/{}", "a".repeat(128));
        for (name, size, blocks) in [
            ("blobs/sha256/a", SIZE_MAX, 1),
            ("blobs/sha256/a", SIZE_MAX + 1, 3),
            (&*long, 5, 3),
            (&*long, u64::MAX >> 1, 3),
        ] {
            let header = file(name, 0o444, size);
            assert_eq!(header.len() as u64, blocks * BLOCK, "{name} {size}");
            let mut source = Some(Bytes::from(header));
            let mut reader = Reader::new(&mut source, TarLimits::default());
            let entry = reader.next_entry().unwrap().unwrap();
            assert_eq!(entry.path, name.as_bytes());
            assert_eq!((entry.size, entry.mode), (size, 0o444));
            assert_eq!((entry.mtime.seconds, entry.uid, entry.gid), (0, 0, 0));
        }
    }
}
