//! The tar scanner on what real programs write.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use transom_sdk::Error;
use transom_sdk::tar::{Entry, Scanner, Visitor};

#[derive(Debug, Default, PartialEq)]
struct Seen(Vec<(Entry, Vec<u8>)>, bool);

impl Visitor for Seen {
    fn entry(&mut self, entry: &Entry) {
        assert!(!self.1, "the entry before was not ended");
        self.1 = true;
        self.0.push((entry.clone(), Vec::new()));
    }

    fn data(&mut self, bytes: &[u8]) {
        self.0
            .last_mut()
            .expect("an entry before its data")
            .1
            .extend_from_slice(bytes);
    }

    fn end_entry(&mut self) {
        assert!(self.1, "no entry to end");
        self.1 = false;
    }
}

fn header(path: &[u8], kind: u8, size: u64) -> [u8; 512] {
    let mut header = [0u8; 512];
    header[..path.len()].copy_from_slice(path);
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[156] = kind;
    seal(&mut header);
    header
}

fn seal(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn with_content(header: [u8; 512], content: &[u8]) -> Vec<u8> {
    let mut entry = header.to_vec();
    entry.extend_from_slice(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn file(path: &[u8], content: &[u8]) -> Vec<u8> {
    with_content(header(path, b'0', content.len() as u64), content)
}

fn scan(tar: &[u8], chunk: usize) -> Result<Seen, Error> {
    let (mut scanner, mut seen) = (Scanner::new(), Seen::default());
    for chunk in tar.chunks(chunk) {
        scanner.feed(chunk, &mut seen)?;
    }
    scanner.finish()?;
    Ok(seen)
}

fn paths(tar: &[u8]) -> Vec<String> {
    let whole = scan(tar, usize::MAX).unwrap();
    for chunk in [1, 3, 511, 512, 513] {
        assert_eq!(scan(tar, chunk).unwrap(), whole);
    }
    whole
        .0
        .iter()
        .map(|(entry, content)| format!("{}={}", entry.display_path(), content.len()))
        .collect()
}

#[test]
fn long_names_and_pax_records_belong_to_the_next_entry() {
    let long = [b'n'; 300];
    let records = b"13 path=p/ax\n12 size=600\n";
    let tar = [
        with_content(header(b"././@LongLink", b'L', 300), &long),
        file(b"nnn", b"long"),
        with_content(header(b"pax", b'x', records.len() as u64), records),
        // As in the hole that several unpackers had: a long name between the record and its file. The host, as Go
        // does, lets the long name win, and the record's size count.
        with_content(header(b"././@LongLink", b'L', 3), b"gnu"),
        with_content(header(b"short", b'0', 0), &[1; 600]),
        file(b"plain", b"x"),
        vec![0; 1024],
        b"trailing garbage".to_vec(),
    ]
    .concat();
    assert_eq!(
        paths(&tar),
        [
            format!("{}=4", "n".repeat(300)),
            "gnu=600".into(),
            "plain=1".into()
        ]
    );
}

#[test]
fn prefixes_binary_sizes_links_and_sparse_headers_are_read() {
    let mut prefixed = header(b"name", b'0', 2);
    prefixed[257..263].copy_from_slice(b"ustar\0");
    prefixed[345..350].copy_from_slice(b"a/b/c");
    seal(&mut prefixed);
    let mut binary = header(b"binary", b'0', 0);
    binary[124] = 0x80;
    binary[125..136].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
    seal(&mut binary);
    let mut sparse = header(b"sparse", b'S', 4);
    sparse[482] = 1;
    seal(&mut sparse);
    let mut more = [1u8; 512];
    more[504] = 0;
    let tar = [
        with_content(prefixed, b"hi"),
        with_content(binary, &[2; 512]),
        // A size field on a hard link means nothing.
        header(b"link", b'1', 4096).to_vec(),
        [
            sparse.to_vec(),
            more.to_vec(),
            with_content([0; 512], b"data")[512..].to_vec(),
        ]
        .concat(),
        file(b"last", b"z"),
    ]
    .concat();
    assert_eq!(
        paths(&tar),
        ["a/b/c/name=2", "binary=512", "link=0", "sparse=4", "last=1"]
    );
}

#[test]
fn damage_is_an_error_with_its_place() {
    let mut tar = [file(b"a", b"1"), file(b"b", b"2")].concat();
    tar[1024 + 3] ^= 1;
    assert!(matches!(
        scan(&tar, 100),
        Err(Error::Corrupt {
            offset: Some(1024),
            ..
        })
    ));
    let huge = header(b"h", b'x', 1 << 30);
    assert!(matches!(scan(&huge, 100), Err(Error::Limit(_))));
    let record = with_content(header(b"pax", b'x', 10), b"99 path=x\n");
    assert!(matches!(scan(&record, 100), Err(Error::Corrupt { .. })));
    assert!(matches!(
        scan(&file(b"a", b"1")[..513], 100),
        Err(Error::Corrupt {
            offset: Some(513),
            ..
        })
    ));
}
