//! The tar reader on archives made byte by byte: dialects, extension headers, sparse maps, ends, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "apply_support/archive.rs"]
#[expect(dead_code, reason = "shared by several test programs")]
mod archive;

use archive::{Archive, Header, chunks};
use bytes::Bytes;
use proptest::prelude::*;
use transom_layer::tar::{ChunkSource, Entry, EntryKind, Reader, SourceError, TarError, TarLimits, Time};

/// An entry and its content: pieces of data and where they belong.
type Read = (Entry, Vec<(u64, Vec<u8>)>);

/// Everything in an archive; pieces that touch are joined, so that chunks make no difference.
fn read(source: &mut dyn ChunkSource, limits: TarLimits) -> Result<Vec<Read>, TarError> {
    let mut reader = Reader::new(source, limits);
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
        while let Some(data) = reader.next_data()? {
            match pieces.last_mut() {
                Some((start, piece)) if *start + piece.len() as u64 == data.offset => {
                    piece.extend_from_slice(&data.bytes);
                }
                _ => pieces.push((data.offset, data.bytes.to_vec())),
            }
        }
        all.push((entry, pieces));
    }
    reader.drain()?;
    Ok(all)
}

fn whole(tar: Vec<u8>) -> Result<Vec<Read>, TarError> {
    read(&mut Some(Bytes::from(tar)), TarLimits::default())
}

fn one(tar: Vec<u8>) -> Entry {
    let mut all = whole(tar).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0).0
}

fn corrupt(tar: Vec<u8>) -> (u64, &'static str) {
    match whole(tar) {
        Err(TarError::Corrupt { offset, problem }) => (offset, problem),
        other => panic!("expected a corrupt tar, got {other:?}"),
    }
}

fn content(read: &Read) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(read.0.size).unwrap()];
    for (offset, piece) in &read.1 {
        let start = usize::try_from(*offset).unwrap();
        content[start..start + piece.len()].copy_from_slice(piece);
    }
    content
}

#[test]
fn a_pax_size_is_that_of_the_next_entry_only() {
    // CVE-2025-62518 and CVE-2026-33055: the header says 0 or 8, PAX says 1024; the data is a tar that must not be seen.
    let inner = Archive::new().file("smuggled", b"", 0o644).0;
    for said in [0, 8] {
        let tar = Archive::new()
            .pax(&[("size", b"512")])
            .raw(&Header::new(b"outer", b'0', 0o644, said), b"")
            .data(&inner)
            .file("after", b"x", 0o644)
            .end();
        let names: Vec<_> = whole(tar)
            .unwrap()
            .into_iter()
            .map(|(entry, _)| (entry.path, entry.size))
            .collect();
        assert_eq!(names, [(b"outer".to_vec(), 512), (b"after".to_vec(), 1)]);
    }
}

#[test]
fn a_pax_size_does_not_touch_the_long_name_between() {
    // GHSA-3pv8-6f4r-ffg2: x, then L, then the file.
    let name = vec![b'n'; 300];
    let tar = Archive::new()
        .pax(&[("size", b"5")])
        .extension(b'L', &[&name[..], b"\0"].concat())
        .raw(&Header::new(b"short", b'0', 0o644, 0), b"12345")
        .file("after", b"x", 0o644)
        .end();
    let all = whole(tar).unwrap();
    assert_eq!(all[0].0.path, name);
    assert_eq!(content(&all[0]), b"12345");
    assert_eq!(all[1].0.path, b"after");
}

#[test]
fn a_pax_header_holds_for_one_entry() {
    let tar = Archive::new()
        .pax(&[("path", b"long"), ("uid", b"7"), ("SCHILY.xattr.user.a", b"b")])
        .file("a", b"", 0o644)
        .file("b", b"", 0o644)
        .end();
    let all = whole(tar).unwrap();
    assert_eq!((&all[0].0.path[..], all[0].0.uid), (&b"long"[..], 7));
    assert_eq!(all[0].0.xattrs, [(b"user.a".to_vec(), b"b".to_vec())]);
    assert_eq!(all[1].0.path, b"b");
    assert_eq!(all[1].0.xattrs, []);
}

#[test]
fn global_headers_are_checked_and_ignored() {
    let global = archive::pax_body(&[("path", b"all"), ("size", b"99")]);
    let tar = Archive::new()
        .extension(b'g', &global)
        .file("a", b"x", 0o644)
        .end();
    assert_eq!(one(tar).path, b"a");
    let tar = Archive::new()
        .extension(b'g', b"no record")
        .file("a", b"x", 0o644)
        .end();
    assert_eq!(corrupt(tar), (0, "a PAX record is malformed"));
}

#[test]
fn pax_times_have_nanoseconds_and_a_sign() {
    for (text, seconds, nanos) in [
        ("1.5", 1, 500_000_000),
        ("1", 1, 0),
        ("1.0000000019", 1, 1),
        ("-1.5", -2, 500_000_000),
        ("-0.5", -1, 500_000_000),
        ("-3", -3, 0),
        ("1600000000.123456789", 1_600_000_000, 123_456_789),
    ] {
        let tar = Archive::new()
            .pax(&[("mtime", text.as_bytes())])
            .file("a", b"", 0o644)
            .end();
        assert_eq!(one(tar).mtime, Time { seconds, nanos }, "{text}");
    }
    for text in ["1.x", "x", ".5", "1.5.5", "--1"] {
        let tar = Archive::new()
            .pax(&[("mtime", text.as_bytes())])
            .file("a", b"", 0o644)
            .end();
        assert_eq!(corrupt(tar), (1024, "a PAX time is not a number"), "{text}");
    }
}

#[test]
fn malformed_pax_records_are_refused() {
    for body in [
        &b"5 a=b\n"[..],
        b"7 a=b\n",
        b"6 a=bc",
        b"6 ab c\n",
        b"x a=b\n",
        b"0 a=b\n",
        b"4 a=\n",
        b"99999999999999999999 a=b\n",
        b"6 =ab\n",
        b"7 a\0=b\n",
        b"11 path=\0a\n",
    ] {
        let tar = Archive::new().extension(b'x', body).file("a", b"", 0o644).end();
        assert_eq!(corrupt(tar), (0, "a PAX record is malformed"), "{body:?}");
    }
}

#[test]
fn numbers_may_be_base_256() {
    let mut header = Header::new(b"a", b'0', 0o644, 0);
    header.text(108, &[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xfe]);
    header.text(116, &[0xff; 8]);
    header.text(
        136,
        &[
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf6,
        ],
    );
    let entry = one(Archive::new().raw(&header, b"").end());
    assert_eq!((entry.uid, entry.gid), (0x7fff_fffe, -1));
    assert_eq!(
        entry.mtime,
        Time {
            seconds: -10,
            nanos: 0
        }
    );
    header.text(124, &[0xff; 12]);
    assert_eq!(
        corrupt(Archive::new().raw(&header, b"").end()),
        (0, "the size is negative")
    );
    header.text(124, &[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        corrupt(Archive::new().raw(&header, b"").end()),
        (0, "the size is not a number")
    );
}

#[test]
fn names_have_prefixes_in_ustar_only() {
    let mut header = Header::new(b"name", b'0', 0o644, 0);
    header.text(345, b"some/prefix");
    assert_eq!(
        one(Archive::new().raw(&header, b"").end()).path,
        b"some/prefix/name"
    );
    header.text(257, b"ustar  \0");
    // Where GNU keeps times there is text: what old Go programs wrote.
    assert_eq!(
        one(Archive::new().raw(&header, b"").end()).path,
        b"some/prefix/name"
    );
    header.text(345, b"00000000012\x0000000000012\0");
    let entry = one(Archive::new().raw(&header, b"").end());
    assert_eq!(
        (&entry.path[..], entry.atime),
        (
            &b"name"[..],
            Some(Time {
                seconds: 10,
                nanos: 0
            })
        )
    );
    header.text(257, &[0; 8]);
    assert_eq!(one(Archive::new().raw(&header, b"").end()).path, b"name");
}

#[test]
fn a_v7_folder_is_a_file_with_a_slash() {
    for (name, flag, kind) in [
        (&b"a/"[..], 0, EntryKind::Directory),
        (b"a", 0, EntryKind::File),
        (b"a/", b'0', EntryKind::File),
        (b"a", b'7', EntryKind::Other(b'7')),
        (b"a", b'6', EntryKind::Fifo),
    ] {
        assert_eq!(
            one(Archive::new().raw(&Header::new(name, flag, 0o755, 0), b"").end()).kind,
            kind
        );
    }
}

#[test]
fn checksums_may_be_signed() {
    let mut header = Header::new(&[0xc3, 0xa9], b'0', 0o644, 0);
    let mut block = header.block();
    let signed: i64 = block
        .iter()
        .enumerate()
        .map(|(at, &byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                i64::from(byte.cast_signed())
            }
        })
        .sum();
    block[148..156].copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
    let mut tar = block.to_vec();
    tar.extend_from_slice(&[0; 1024]);
    assert_eq!(one(tar.clone()).path, [0xc3, 0xa9]);
    tar[0] ^= 1;
    assert_eq!(corrupt(tar), (0, "the header's checksum does not fit"));
    header.text(100, b"89");
    assert_eq!(
        corrupt(Archive::new().raw(&header, b"").end()),
        (0, "the mode is not a number")
    );
}

#[test]
fn an_archive_ends_as_in_go() {
    let entries = Archive::new().file("a", b"x", 0o644).0;
    let with = |tail: &[u8]| whole([&entries[..], tail].concat());
    assert_eq!(with(&[]).unwrap().len(), 1);
    assert_eq!(with(&[0; 512]).unwrap().len(), 1);
    assert_eq!(with(&[0; 1024]).unwrap().len(), 1);
    assert_eq!(with(&[&[0; 1024][..], b"anything"].concat()).unwrap().len(), 1);
    // Inside the filling of the last file.
    assert_eq!(whole(entries[..514].to_vec()).unwrap().len(), 1);
    assert_eq!(whole(Vec::new()).unwrap(), []);
    let lone = [&[0; 512][..], &entries].concat();
    assert_eq!(
        corrupt(lone),
        (512, "a block of zeros in the middle of the archive")
    );
}

#[test]
fn a_cut_archive_says_where_it_ends() {
    let tar = Archive::new().file("a", &[7; 700], 0o644).file("b", b"", 0o644).0;
    let cut = |length: usize| match whole(tar[..length].to_vec()) {
        Err(TarError::Truncated { offset, part }) => (offset, part),
        other => panic!("expected a truncated tar, got {other:?}"),
    };
    assert_eq!(cut(100), (100, "a header"));
    assert_eq!(cut(512), (512, "a file's content"));
    assert_eq!(cut(1211), (1211, "a file's content"));
    assert_eq!(cut(1600), (1600, "a header"));
    assert_eq!(
        corrupt(vec![b'x'; 600]),
        (0, "the header's checksum does not fit")
    );
}

fn gnu_sparse(pieces: &[(u64, u64)], size: u64, data: &[u8]) -> Archive {
    let mut header = Header::new(b"sparse", b'S', 0o644, data.len() as u64);
    header.text(257, b"ustar  \0").number(483, 12, size);
    for (index, &(offset, length)) in pieces.iter().take(4).enumerate() {
        header
            .number(386 + index * 24, 12, offset)
            .number(398 + index * 24, 12, length);
    }
    header.0[482] = u8::from(pieces.len() > 4);
    let mut archive = Archive::new().raw(&header, b"");
    let rest = pieces.get(4..).unwrap_or(&[]);
    for (index, table) in rest.chunks(21).enumerate() {
        let mut block = Header([0; 512]);
        for (index, &(offset, length)) in table.iter().enumerate() {
            block
                .number(index * 24, 12, offset)
                .number(index * 24 + 12, 12, length);
        }
        block.0[504] = u8::from((index + 1) * 21 < rest.len());
        archive.0.extend_from_slice(&block.0);
    }
    archive.data(data)
}

#[test]
fn sparse_files_of_all_formats_are_the_same() {
    let pieces: Vec<(u64, u64)> = (0..40).map(|index| (index * 1000, 3)).collect();
    let data: Vec<u8> = (0..120).map(|byte| byte + 1).collect();
    let size = 50_000_u64;
    let text = |number: u64| number.to_string();
    let list: Vec<String> = pieces.iter().flat_map(|&(o, l)| [text(o), text(l)]).collect();
    let mut in_data = format!("40\n{}\n", list.join("\n")).into_bytes();
    in_data.resize(in_data.len().next_multiple_of(512), 0);
    in_data.extend_from_slice(&data);
    let map = list.join(",");
    let size_text = text(size);
    let mut records_00: Vec<(&str, &[u8])> = vec![
        ("GNU.sparse.size", size_text.as_bytes()),
        ("GNU.sparse.numblocks", b"40"),
    ];
    for pair in list.chunks(2) {
        records_00.push(("GNU.sparse.offset", pair[0].as_bytes()));
        records_00.push(("GNU.sparse.numbytes", pair[1].as_bytes()));
    }
    let archives = [
        gnu_sparse(&pieces, size, &data),
        Archive::new().pax(&records_00).file("sparse", &data, 0o644),
        Archive::new()
            .pax(&[
                ("GNU.sparse.size", size_text.as_bytes()),
                ("GNU.sparse.numblocks", b"40"),
                ("GNU.sparse.map", map.as_bytes()),
                ("GNU.sparse.name", b"sparse"),
            ])
            .file("./GNUSparseFile.1/sparse", &data, 0o644),
        Archive::new()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"sparse"),
                ("GNU.sparse.realsize", size_text.as_bytes()),
            ])
            .file("./GNUSparseFile.1/sparse", &in_data, 0o644),
    ];
    for (format, archive) in archives.into_iter().enumerate() {
        let all = whole(archive.file("after", b"x", 0o644).end()).unwrap();
        let (entry, read) = &all[0];
        assert_eq!(
            (&entry.path[..], entry.size, entry.sparse),
            (&b"sparse"[..], size, true),
            "format {format}"
        );
        let expected: Vec<(u64, Vec<u8>)> = pieces
            .iter()
            .zip(data.chunks(3))
            .map(|(&(offset, _), data)| (offset, data.to_vec()))
            .collect();
        assert_eq!(read, &expected, "format {format}");
        assert_eq!(all[1].0.path, b"after", "format {format}");
    }
}

#[test]
fn bad_sparse_maps_are_refused() {
    let map = "the map of a sparse file is malformed";
    let fit = "the map of a sparse file does not fit its data";
    for (pieces, size, stored, problem) in [
        (&[(0, 4), (2, 4)][..], 10, 8, map),
        (&[(4, 4), (0, 4)], 10, 8, map),
        (&[(8, 4)], 10, 4, map),
        (&[(0, 4)], 10, 3, fit),
        (&[(0, 4)], 10, 5, fit),
        (&[], 10, 5, fit),
    ] {
        let tar = gnu_sparse(pieces, size, &vec![1; stored]).end();
        assert_eq!(corrupt(tar), (0, problem), "{pieces:?}");
    }
    let pax = |records: &[(&str, &[u8])]| corrupt(Archive::new().pax(records).file("a", b"", 0o644).end()).1;
    assert_eq!(
        pax(&[("GNU.sparse.map", b"0,1,2"), ("GNU.sparse.numblocks", b"1")]),
        map
    );
    assert_eq!(
        pax(&[("GNU.sparse.map", b"0,x"), ("GNU.sparse.numblocks", b"1")]),
        map
    );
    assert_eq!(
        pax(&[("GNU.sparse.numbytes", b"0")]),
        "the PAX records of a sparse file are out of order"
    );
    let folder = Archive::new()
        .pax(&[("GNU.sparse.map", b"0,0"), ("GNU.sparse.numblocks", b"1")])
        .dir("a", 0o755)
        .end();
    assert_eq!(
        corrupt(folder).1,
        "an entry without data has the map of a sparse file"
    );
}

#[test]
fn limits_hold() {
    let limits = TarLimits {
        extension_bytes: 100,
        sparse_pieces: 5,
        xattrs: 1,
    };
    let limit = |tar: Vec<u8>| match read(&mut Some(Bytes::from(tar)), limits) {
        Err(TarError::Limit { what, limit, .. }) => (what, limit),
        other => panic!("expected a limit, got {other:?}"),
    };
    let long = vec![b'n'; 101];
    let long_name = Archive::new().extension(b'L', &long).file("a", b"", 0o644).end();
    assert_eq!(limit(long_name), ("the bytes of an extension header", 100));
    let pieces: Vec<(u64, u64)> = (0..6).map(|index| (index * 10, 1)).collect();
    assert_eq!(
        limit(gnu_sparse(&pieces, 100, &[1; 6]).end()),
        ("the pieces of a sparse file", 5)
    );
    let xattrs = [("SCHILY.xattr.user.a", &b"1"[..]), ("SCHILY.xattr.user.b", b"2")];
    let tar = Archive::new().pax(&xattrs).file("a", b"", 0o644).end();
    assert_eq!(limit(tar), ("the extended attributes of an entry", 1));
    // A header that claims an exabyte costs no memory.
    let mut huge = Header::new(b"x", b'x', 0o644, 0);
    huge.text(124, &[0x80, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        limit(Archive::new().raw(&huge, b"").end()).0,
        "the bytes of an extension header"
    );
}

/// Gives one chunk, then fails.
struct Failing(Option<Bytes>);

impl ChunkSource for Failing {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        match self.0.take() {
            Some(chunk) => Ok(Some(chunk)),
            None => Err(SourceError::new("cancelled")),
        }
    }
}

#[test]
fn a_failing_source_is_no_corrupt_tar() {
    let tar = Archive::new().file("a", &[1; 2000], 0o644).end();
    for cut in [0, 100, 512, 1000, tar.len()] {
        let mut source = Failing(Some(Bytes::copy_from_slice(&tar[..cut])));
        match read(&mut source, TarLimits::default()) {
            Err(TarError::Source(error)) => assert_eq!(error.to_string(), "cancelled"),
            other => panic!("expected the source's error at {cut}, got {other:?}"),
        }
    }
}

fn every_kind() -> Vec<u8> {
    let pieces: Vec<(u64, u64)> = (0..30).map(|index| (index * 100, 7)).collect();
    let mut archive = Archive::new()
        .dir("d/", 0o755)
        .file("d/f", &[5; 1300], 0o640)
        .pax(&[
            ("path", "d/ü".as_bytes()),
            ("mtime", b"1.25"),
            ("SCHILY.xattr.user.a", b"\0\n="),
        ])
        .file("x", b"content", 0o644)
        .extension(b'L', &[b'l'; 400])
        .symlink("d/f", "s")
        .link("d/f", "h")
        .device("c", b'3', 1, 3);
    archive
        .0
        .extend_from_slice(&gnu_sparse(&pieces, 5000, &[9; 210]).0);
    [&archive.end()[..], b"and more that is not a tar"].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunks_make_no_difference(sizes in proptest::collection::vec(1_usize..1500, 1..12)) {
        let tar = every_kind();
        let expected = whole(tar.clone()).unwrap();
        let mut rest = &tar[..];
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(Bytes::copy_from_slice(piece));
            pieces.push(Bytes::new());
            rest = after;
        }
        prop_assert_eq!(read(&mut pieces.into_iter(), TarLimits::default()).unwrap(), expected);
    }

    #[test]
    fn any_bytes_end_in_entries_or_an_error(
        at in proptest::collection::vec((0_usize..8000, any::<u8>()), 1..20),
        length in 0_usize..9000,
    ) {
        let mut tar = every_kind();
        for (at, byte) in at {
            let at = at % tar.len();
            tar[at] = byte;
        }
        tar.truncate(length);
        let one = read(&mut chunks(&tar, 1000), TarLimits::default()).map_err(|error| error.to_string());
        let other = read(&mut chunks(&tar, 77), TarLimits::default()).map_err(|error| error.to_string());
        prop_assert_eq!(one, other);
    }
}
