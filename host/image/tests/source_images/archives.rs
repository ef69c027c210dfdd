//! Archives: compressed or not, from files and streams, in any order, and broken ones.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::ops::ControlFlow;

use proptest::prelude::*;
use tar::EntryType;
use transom_image::reference::{Location, Selector};
use transom_image::source::archive::Archive;
use transom_image::{Format, ImageError, OpenOptions, PlatformChoice, Reference, Source, resolve};

use crate::builder::{
    ArchiveFile, Layout, Member, archive, file, gzip, hard_link, header, open_with, read_layer, symlink, zstd,
};

fn stdin_reference() -> Reference {
    Reference::parse(std::ffi::OsStr::new("-")).unwrap()
}

fn index(bytes: &[u8]) -> Result<Archive, ImageError> {
    let mut temp = tempfile::tempfile().unwrap();
    temp.write_all(bytes).unwrap();
    Archive::index(temp, "test.tar")
}

fn read(archive: &Archive, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    archive.open(name).unwrap()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// A header without data behind it, as raw blocks.
fn raw(name: &str, kind: EntryType, size: u64, data: &[u8]) -> Vec<u8> {
    let mut bytes = header(name, kind, size).as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let length = (1..6)
            .map(|digits| digits + rest.len())
            .find(|length| length.to_string().len() + rest.len() == *length);
        data.extend_from_slice(format!("{}{rest}", length.unwrap()).as_bytes());
    }
    raw("pax", EntryType::XHeader, data.len() as u64, &data)
}

#[test]
fn an_archive_is_read_however_it_comes() {
    let (layout, manifest) = Layout::simple();
    let plain = layout.archive();
    for bytes in [
        plain.clone(),
        gzip(&plain),
        zstd(&plain),
        [gzip(&plain[..700]), gzip(&plain[700..])].concat(),
    ] {
        let disk = ArchiveFile::new(&bytes);
        let from_disk = disk.open().unwrap();
        let from_stream = open_with(&stdin_reference(), &mut Cursor::new(&bytes)).unwrap();
        for source in [from_disk, from_stream] {
            assert_eq!(source.format(), Format::OciArchive);
            let image = resolve(&source, &Selector::default(), &PlatformChoice::Host).unwrap();
            assert_eq!(image.descriptor.digest.as_str(), manifest["digest"]);
            assert_eq!(read_layer(&source, &image, 0), b"a layer");
        }
    }
}

#[test]
fn a_pipe_is_read_like_standard_input() {
    let (layout, _) = Layout::simple();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let bytes = gzip(&layout.archive());
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, bytes).unwrap()
    });
    assert!(crate::builder::open(&pipe).is_ok());
    writer.join().unwrap();
}

#[test]
fn spooling_leaves_nothing_behind_and_has_a_limit() {
    let (layout, _) = Layout::simple();
    let packed = gzip(&layout.archive());
    let temp = tempfile::tempdir().unwrap();
    let seen = Cell::new(0);
    let progress = |bytes| {
        seen.set(bytes);
        ControlFlow::Continue(())
    };
    let mut options = OpenOptions {
        progress: Some(&progress),
        ..OpenOptions::new(temp.path())
    };
    let source = Source::open(&stdin_reference(), &mut Cursor::new(&packed), &options).unwrap();
    assert_eq!(seen.get(), layout.archive().len() as u64);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    drop(source);

    options.spool_bytes_max = 1000;
    let error = Source::open(&stdin_reference(), &mut Cursor::new(&packed), &options).unwrap_err();
    assert!(
        matches!(error, ImageError::SpoolLimit { limit: 1000, .. }),
        "{error}"
    );

    let stop = |_| ControlFlow::Break(());
    options = OpenOptions {
        progress: Some(&stop),
        ..OpenOptions::new(temp.path())
    };
    let error = Source::open(&stdin_reference(), &mut Cursor::new(&packed), &options).unwrap_err();
    assert!(matches!(error, ImageError::Cancelled), "{error}");

    let gone = temp.path().join("gone");
    let error = Source::open(
        &stdin_reference(),
        &mut Cursor::new(&packed),
        &OpenOptions::new(&gone),
    )
    .unwrap_err();
    assert!(matches!(error, ImageError::Spool { .. }), "{error}");
}

#[test]
fn damaged_compression_is_told() {
    let (layout, _) = Layout::simple();
    for packed in [gzip(&layout.archive()), zstd(&layout.archive())] {
        let error = ArchiveFile::new(&packed[..packed.len() - 9]).open().unwrap_err();
        assert!(matches!(error, ImageError::Decompress { .. }), "{error}");
        let mut flipped = packed.clone();
        flipped[packed.len() / 2] ^= 0x10;
        assert!(ArchiveFile::new(&flipped).open().is_err());
    }
    let error = ArchiveFile::new(b"\xfd7zXZ\0 and so on").open().unwrap_err();
    assert!(error.to_string().contains("`xz -d`"), "{error}");
    let error = ArchiveFile::new(b"BZh9 and so on").open().unwrap_err();
    assert!(error.to_string().contains("`bzip2 -d`"), "{error}");
}

#[test]
fn what_is_no_archive_says_so() {
    for bytes in [
        b"".as_slice(),
        b"x",
        &[b'x'; 5000],
        &gzip(&gzip(b"x")),
        &[0; 1024],
    ] {
        let error = ArchiveFile::new(bytes).open().unwrap_err();
        assert!(matches!(error, ImageError::NotAnImage { .. }), "{error}");
    }
    let other = archive(&[file("etc/passwd", b"root")]);
    let error = ArchiveFile::new(&other).open().unwrap_err();
    assert!(error.to_string().contains("neither oci-layout"), "{error}");
    let sparse = raw("sparse", EntryType::GNUSparse, 0, b"");
    let error = ArchiveFile::new(&sparse).open().unwrap_err();
    assert!(error.to_string().contains("without --sparse"), "{error}");
    let ancient = archive(&[file("repositories", b"{}")]);
    let error = ArchiveFile::new(&ancient).open().unwrap_err();
    assert!(error.to_string().contains("older than 1.10"), "{error}");
}

#[test]
fn a_cut_archive_names_the_member() {
    let bytes = archive(&[file("a", b"1"), file("some/member", &[7; 2000])]);
    let error = index(&bytes[..2048]).unwrap_err();
    assert!(
        matches!(error, ImageError::ArchiveTruncated { ref member, .. } if member == "some/member"),
        "{error}"
    );
    let error = index(&bytes[..1300]).unwrap_err();
    assert!(
        matches!(error, ImageError::Archive { offset: 1024, .. }),
        "{error}"
    );
    // Without the padding of the last member, or the zeros at the end, nothing is lost.
    for end in [1536 + 2000, 1536 + 2048, 1536 + 2048 + 512] {
        assert_eq!(
            read(&index(&bytes[..end]).unwrap(), "some/member").unwrap().len(),
            2000
        );
    }
}

#[test]
fn a_damaged_header_is_placed() {
    let mut bytes = archive(&[file("a", b"1"), file("b", b"2")]);
    bytes[1024 + 3] ^= 1;
    let error = index(&bytes).unwrap_err();
    assert!(
        matches!(error, ImageError::Archive { offset: 1024, .. }),
        "{error}"
    );
}

#[test]
fn names_are_normal() {
    let members = [
        file("./a//b/./c", b"1"),
        file("/root", b"2"),
        file("x/../y", b"3"),
        file("..", b"4"),
    ];
    // The tar crate's builder refuses such names.
    let bytes: Vec<u8> = members
        .iter()
        .flat_map(|member| raw(&member.name, EntryType::Regular, 1, &member.data))
        .collect();
    let archive = index(&bytes).unwrap();
    assert_eq!(
        archive.names().collect::<Vec<_>>(),
        [b"a/b/c".as_slice(), b"root"]
    );
    assert_eq!(read(&archive, "a/b/c").unwrap(), b"1");
    for name in ["", ".", "/", "../root", "x/../root", "y", "a", "root/x"] {
        assert!(archive.open(name).unwrap().is_none(), "{name}");
    }
}

#[test]
fn links_are_followed_inside() {
    let archive = index(&archive(&[
        symlink("early", "d/file"),
        hard_link("early-hard", "d/file"),
        file("d/file", b"1"),
        symlink("d/near", "file"),
        symlink("e/up", "../d/near"),
        symlink("folder", "d"),
        symlink("e/deep", "../folder/near"),
        hard_link("hard", "d/near"),
        hard_link("d/hard", "d/near"),
    ]))
    .unwrap();
    for name in [
        "early",
        "early-hard",
        "d/near",
        "e/up",
        "folder/file",
        "folder/near",
        "e/deep",
        "d/hard",
    ] {
        assert_eq!(read(&archive, name).expect(name), b"1", "{name}");
    }
    // A second name of the link itself, which is relative to where it stands.
    assert!(matches!(
        archive.open("hard"),
        Err(ImageError::ArchiveLink { .. })
    ));
}

#[test]
fn links_that_lead_nowhere_are_told_apart() {
    let archive = index(&archive(&[
        symlink("self", "self"),
        symlink("a", "b"),
        symlink("b", "a"),
        hard_link("h", "h"),
        symlink("up", "../x"),
        symlink("d/up", "../../x"),
        symlink("absolute", "/etc/passwd"),
        hard_link("hard-up", "../x"),
        symlink("dangling", "none"),
        symlink("through", "self/x"),
        file("x", b"1"),
    ]))
    .unwrap();
    for (name, want) in [
        ("self", "circle"),
        ("a", "circle"),
        ("h", "circle"),
        ("through", "circle"),
        ("up", "out of the archive"),
        ("d/up", "out of the archive"),
        ("absolute", "out of the archive"),
        ("hard-up", "out of the archive"),
        ("dangling", "to nothing"),
    ] {
        let error = archive.open(name).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains(name), "{name}: {error}");
    }
}

#[test]
fn the_last_of_one_name_counts() {
    let archive = index(&archive(&[
        file("a", b"1"),
        hard_link("first", "a"),
        file("a", b"22"),
        hard_link("second", "a"),
        symlink("b", "a"),
        file("./b", b"333"),
    ]))
    .unwrap();
    assert_eq!(read(&archive, "a").unwrap(), b"22");
    assert_eq!(read(&archive, "first").unwrap(), b"1");
    assert_eq!(read(&archive, "second").unwrap(), b"22");
    assert_eq!(read(&archive, "b").unwrap(), b"333");
}

#[test]
fn pax_records_count() {
    let mut bytes = pax(&[("LIBARCHIVE.x", "a\nb=c"), ("path", "renamed"), ("size", "3")]);
    bytes.extend(raw("short", EntryType::Regular, 0, b"abc"));
    bytes.extend(raw("next", EntryType::Regular, 1, b"x"));
    let archive = index(&bytes).unwrap();
    assert_eq!(read(&archive, "renamed").unwrap(), b"abc");
    assert_eq!(read(&archive, "next").unwrap(), b"x");
    assert!(archive.open("short").unwrap().is_none());
}

#[test]
fn extended_headers_are_checked() {
    let broken = |data: &[u8]| raw("pax", EntryType::XHeader, data.len() as u64, data);
    for bytes in [
        broken(b"nonsense\n"),
        broken(b"99999999999999999999 a=b\n"),
        broken(b"5 a=b\n"),
        broken(b"0 a=b\n"),
        broken(b"7 a b\n\n"),
        pax(&[("size", "-1")]),
        pax(&[("GNU.sparse.major", "1")]),
        raw("sparse", EntryType::GNUSparse, 0, b""),
    ] {
        assert!(matches!(
            index(&bytes),
            Err(ImageError::Archive { offset: 0, .. })
        ));
    }
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::GNULongLink] {
        let mut bytes = raw("x", kind, (1 << 20) + 1, b"");
        bytes.resize(3 << 20, 0);
        assert!(
            matches!(index(&bytes), Err(ImageError::ArchiveLimit { .. })),
            "{kind:?}"
        );
    }
    let mut bytes = pax(&[("size", &u64::MAX.to_string())]);
    bytes.extend(raw("large", EntryType::Regular, 0, b""));
    assert!(matches!(index(&bytes), Err(ImageError::ArchiveTruncated { .. })));
}

#[test]
fn members_and_names_are_limited() {
    let empty = raw("x", EntryType::Regular, 0, b"");
    let count = usize::try_from(transom_image::limits::ARCHIVE_MEMBERS_MAX).unwrap();
    assert!(index(&empty.repeat(count)).is_ok());
    let error = index(&empty.repeat(count + 1)).unwrap_err();
    assert!(
        matches!(error, ImageError::ArchiveLimit { what: "members", .. }),
        "{error}"
    );

    let name = "n".repeat(1 << 20);
    let long: Vec<u8> = [raw("l", EntryType::GNULongName, 1 << 20, name.as_bytes()), empty].concat();
    let error = index(&long.repeat(33)).unwrap_err();
    assert!(
        matches!(
            error,
            ImageError::ArchiveLimit {
                what: "bytes of names",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn readers_do_not_disturb_each_other() {
    let data: Vec<Vec<u8>> = (0..4_u8).map(|n| vec![n; 300_000 + usize::from(n)]).collect();
    let members: Vec<Member> = data
        .iter()
        .enumerate()
        .map(|(at, data)| file(&at.to_string(), data))
        .collect();
    let archive = index(&archive(&members)).unwrap();
    std::thread::scope(|scope| {
        for (at, data) in data.iter().enumerate() {
            let archive = &archive;
            for _ in 0..2 {
                scope.spawn(move || assert_eq!(&read(archive, &at.to_string()).unwrap(), data));
            }
        }
    });
}

#[test]
fn standard_input_is_no_folder() {
    let mut reference = stdin_reference();
    reference.transport = Some(transom_image::Transport::Oci);
    assert_eq!(reference.location, Location::Stdin);
    let (layout, _) = Layout::simple();
    let error = open_with(&reference, &mut Cursor::new(layout.archive())).unwrap_err();
    assert!(error.to_string().contains("it is an archive"), "{error}");
}

/// Names that meet often, and some that need long-name headers.
fn member() -> impl Strategy<Value = Member> {
    let name = prop_oneof![
        "[ab]{1,2}",
        "[ab]/[ab]{1,2}",
        "[a-z]{90,120}",
        "[a-z]{60}/[a-z]{120,200}"
    ];
    let data = prop::collection::vec(any::<u8>(), 0..1500);
    (name, data).prop_map(|(name, data)| file(&name, &data))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn indexing_equals_reading_from_start_to_end(members in prop::collection::vec(member(), 0..20)) {
        let bytes = archive(&members);
        let mut want: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut sequential = tar::Archive::new(bytes.as_slice());
        for entry in sequential.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path_bytes().into_owned();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            want.insert(name, data);
        }
        let archive = index(&bytes).unwrap();
        prop_assert_eq!(archive.names().collect::<Vec<_>>(), want.keys().map(Vec::as_slice).collect::<Vec<_>>());
        for (name, data) in &want {
            // A file cannot also be a folder; tar would fail there, and so does looking it up.
            let name = std::str::from_utf8(name).unwrap();
            let folder = name.split_once('/').is_some_and(|(folder, _)| want.contains_key(folder.as_bytes()));
            prop_assert_eq!(read(&archive, name), (!folder).then(|| data.clone()));
        }
    }

    #[test]
    fn garbage_never_panics(
        members in prop::collection::vec(member(), 1..5),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = archive(&members);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Ok(archive) = index(&bytes) {
            for name in archive.names() {
                if let Ok(name) = std::str::from_utf8(name) {
                    let _ = archive.open(name).map(|file| file.map(|mut file| file.read_to_end(&mut Vec::new())));
                }
            }
        }
    }
}

#[test]
fn a_file_of_one_block_is_enough_to_open() {
    let temp = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(temp.path(), raw("a", EntryType::Regular, 0, b"")).unwrap();
    let archive = Archive::index(File::open(temp.path()).unwrap(), "x").unwrap();
    assert_eq!(read(&archive, "a").unwrap(), b"");
}
