//! Archives made byte by byte, and folders to apply them to.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use bytes::Bytes;
use transom_layer::apply::{ApplyError, ApplyOptions, ApplyReport, apply_with};
use transom_sys::{Linux, Sys};

/// One header block with its checksum, of an entry with the ids of this process.
pub(crate) struct Header(pub(crate) [u8; 512]);

impl Header {
    pub(crate) fn new(name: &[u8], flag: u8, mode: u32, size: u64) -> Self {
        let mut header = Self([0; 512]);
        let (uid, gid) = Linux.effective_ids();
        header.0[..name.len()].copy_from_slice(name);
        header.number(100, 8, u64::from(mode));
        header.number(108, 8, u64::from(uid));
        header.number(116, 8, u64::from(gid));
        header.number(124, 12, size);
        header.number(136, 12, 1_600_000_000);
        header.0[156] = flag;
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        header
    }

    pub(crate) fn number(&mut self, at: usize, width: usize, number: u64) -> &mut Self {
        let digits = format!("{number:0width$o}\0", width = width - 1);
        self.0[at..at + width].copy_from_slice(digits.as_bytes());
        self
    }

    pub(crate) fn text(&mut self, at: usize, text: &[u8]) -> &mut Self {
        self.0[at..at + text.len()].copy_from_slice(text);
        self
    }

    /// The block with its checksum.
    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = self.0;
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// An archive in the making.
#[derive(Clone, Default)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A header and its data, filled up to whole blocks.
    pub(crate) fn raw(mut self, header: &Header, data: &[u8]) -> Self {
        self.0.extend_from_slice(&header.block());
        self.data(data)
    }

    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8], mode: u32) -> Self {
        self.raw(&Header::new(name.as_bytes(), b'0', mode, data.len() as u64), data)
    }

    pub(crate) fn dir(self, name: &str, mode: u32) -> Self {
        self.raw(&Header::new(name.as_bytes(), b'5', mode, 0), b"")
    }

    pub(crate) fn symlink(self, target: &str, name: &str) -> Self {
        self.raw(
            Header::new(name.as_bytes(), b'2', 0o777, 0).text(157, target.as_bytes()),
            b"",
        )
    }

    pub(crate) fn link(self, target: &str, name: &str) -> Self {
        self.raw(
            Header::new(name.as_bytes(), b'1', 0o644, 0).text(157, target.as_bytes()),
            b"",
        )
    }

    pub(crate) fn device(self, name: &str, flag: u8, major: u64, minor: u64) -> Self {
        let mut header = Header::new(name.as_bytes(), flag, 0o600, 0);
        header.number(329, 8, major).number(337, 8, minor);
        self.raw(&header, b"")
    }

    /// A PAX header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.extension(b'x', &pax_body(records))
    }

    pub(crate) fn extension(self, flag: u8, body: &[u8]) -> Self {
        self.raw(&Header::new(b"extension", flag, 0o644, body.len() as u64), body)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// The records of a PAX header.
pub(crate) fn pax_body(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        body.extend_from_slice(format!("{length} {key}=").as_bytes());
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    body
}

/// Applies `tar` to the folder `root`.
pub(crate) fn apply_to<S: Sys>(
    sys: &S,
    tar: Vec<u8>,
    root: &Path,
    options: &ApplyOptions,
) -> Result<ApplyReport, ApplyError> {
    let folder = File::open(root).unwrap();
    apply_with(sys, &mut Some(Bytes::from(tar)), folder.as_fd(), options)
}

/// The same in chunks of the given size.
pub(crate) fn chunks(tar: &[u8], size: usize) -> std::vec::IntoIter<Bytes> {
    let chunks: Vec<Bytes> = tar.chunks(size).map(Bytes::copy_from_slice).collect();
    chunks.into_iter()
}
