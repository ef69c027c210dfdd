//! One of everything that a layer may hold and an unpacker may get wrong.

use std::io;

use super::layer::{LayerWriter, LongNames, Meta};
use super::plans::Options;

/// Where the specimens are.
pub(super) const FOLDER: &str = "srv/specimens";

/// `CAP_NET_RAW` permitted and effective, in the kernel's revision 2 (`struct vfs_cap_data`).
pub(super) const CAPABILITY: [u8; 20] = [
    0x01, 0x00, 0x00, 0x02, // revision 2, effective
    0x00, 0x20, 0x00, 0x00, // permitted: bit 13
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Writes them all.
pub(super) fn add(layer: &mut LayerWriter<'_>, options: &Options) -> io::Result<()> {
    modes(layer);
    links(layer)?;
    names(layer);
    contents(layer)?;
    attributes(layer, options);
    layer.fifo(&at("pipe"), &Meta::new(0o620).at(1_600_000_000, 0));
    if options.devices {
        let meta = Meta::new(0o666).at(1_600_000_001, 0);
        layer.char_device(&at("null"), &meta, 1, 3)?;
        layer.char_device(&at("wide"), &meta.owned_by(0, 5), 300, 70_000)?;
    }
    Ok(())
}

/// A path among the specimens.
pub(super) fn at(name: &str) -> Vec<u8> {
    format!("{FOLDER}/{name}").into_bytes()
}

fn modes(layer: &mut LayerWriter<'_>) {
    layer.file(&at("modes/setuid"), &Meta::new(0o4755), b"#!/bin/sh\n");
    layer.file(
        &at("modes/setgid"),
        &Meta::new(0o2755).owned_by(0, 50),
        b"#!/bin/sh\n",
    );
    layer.file(&at("modes/read-only"), &Meta::new(0o444), b"");
    layer.file(
        &at("modes/owned"),
        &Meta::new(0o640).owned_by(1000, 100_000),
        b"x",
    );
    layer.dir(&at("modes/sticky"), &Meta::new(0o1777));
    // Files made in it get its group, unless the unpacker sets theirs.
    layer.dir(&at("modes/shared"), &Meta::new(0o2775).owned_by(0, 50));
    layer.file(&at("modes/shared/file"), &Meta::new(0o644), b"group 0");
    layer.dir(&at("modes/shared/folder"), &Meta::new(0o755));
    layer.dir(&at("modes/empty"), &Meta::new(0o700).at(1_500_000_000, 1));
}

fn links(layer: &mut LayerWriter<'_>) -> io::Result<()> {
    let meta = Meta::new(0o777).at(1_650_000_000, 987_654_321);
    layer.file(&at("links/first"), &Meta::new(0o644), b"several names");
    layer.hard_link(&at("links/second"), &at("links/first"))?;
    layer.hard_link(&at("links/deep/er/third"), &at("links/first"))?;
    layer.symlink(&at("links/relative"), &meta, b"../links/first");
    layer.symlink(&at("links/absolute"), &meta, b"/srv/specimens/links/first");
    layer.symlink(&at("links/dangling"), &meta, b"/no/such/place");
    layer.symlink(&at("links/outside"), &meta, b"../../../../../../../../etc/passwd");
    layer.symlink(&at("links/loop"), &meta, b"loop");
    layer.symlink(&at("links/folder"), &meta, b"deep");
    layer.symlink(&at("links/\u{2192}"), &meta, "\u{e4}\u{f6}".as_bytes());
    layer.symlink(&at("links/far"), &meta, "../far/".repeat(40).as_bytes());
    layer.hard_link(&at("links/name of a symlink"), &at("links/dangling"))
}

fn names(layer: &mut LayerWriter<'_>) {
    let meta = Meta::new(0o644);
    for name in [
        "with space",
        "-rf",
        "a\"quote'",
        "back\\slash",
        "new\nline",
        "\u{65e5}\u{672c}\u{8a9e}",
        "e\u{301} and \u{e9}",
        "*",
        "trailing.",
        "...",
    ] {
        layer.file(&at(&format!("names/{name}")), &meta, name.as_bytes());
    }
    layer.file(
        &[&at("names/"), &b"\xff\xfe not text"[..]].concat(),
        &meta,
        b"bytes",
    );
    for (long_names, part) in [(LongNames::Gnu, "gnu"), (LongNames::Pax, "pax")] {
        layer.long_names = long_names;
        layer.file(
            &at(&format!("names/{part}-{}", "n".repeat(130))),
            &meta,
            part.as_bytes(),
        );
        let deep = format!("names/{part}/{}leaf", format!("{}/", "d".repeat(60)).repeat(8));
        layer.file(&at(&deep), &meta, part.as_bytes());
        layer.symlink(
            &at(&format!("names/{part}-link")),
            &Meta::new(0o777),
            &[b'l'; 300],
        );
    }
    layer.long_names = LongNames::default();
}

fn contents(layer: &mut LayerWriter<'_>) -> io::Result<()> {
    let meta = Meta::new(0o644);
    for size in [0, 1, 511, 512, 513, 4096, 65_537, 300_000] {
        layer.file(&at(&format!("contents/{size}")), &meta, &noise(size));
    }
    let head = noise(4096);
    let tail = noise(1000);
    let pieces: [(u64, &[u8]); 3] = [(0, &head), (1 << 20, &head), (3 << 20, &tail)];
    layer.sparse_gnu(&at("contents/sparse-gnu"), &meta, 4 << 20, &pieces)?;
    layer.sparse_pax(&at("contents/sparse-pax"), &meta, 4 << 20, &pieces);
    layer.sparse_pax(&at("contents/only-a-hole"), &meta, 1 << 20, &[]);
    Ok(())
}

fn attributes(layer: &mut LayerWriter<'_>, options: &Options) {
    let meta = Meta::new(0o644).at(1_234_567_890, 123_456_789);
    layer.file(&at("attributes/nanoseconds"), &meta, b"");
    layer.dir(
        &at("attributes/folder"),
        &Meta::new(0o755).at(1_111_111_111, 999_999_999),
    );
    layer.file(&at("attributes/folder/file"), &meta, b"inside");
    layer.file(&at("attributes/epoch"), &Meta::new(0o644).at(0, 0), b"");
    layer.file(
        &at("attributes/2040"),
        &Meta::new(0o644).at(2_208_988_800, 0),
        b"",
    );
    if options.xattrs {
        let meta = meta.xattr("user.transom", b"text");
        layer.file(
            &at("attributes/xattr"),
            &meta.clone().xattr("user.bytes", b"a\nb=\x80"),
            b"",
        );
        layer.dir(&at("attributes/xattr-folder"), &Meta { mode: 0o755, ..meta });
    }
    if options.capabilities {
        let meta = Meta::new(0o755).xattr("security.capability", &CAPABILITY);
        // Giving a file away drops its capabilities, when the unpacker does it in the wrong order.
        layer.file(&at("attributes/capable"), &meta.owned_by(1, 1), b"#!/bin/sh\n");
    }
}

/// Bytes that do not compress, the same every time (splitmix64).
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = length as u64;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    });
    words.flatten().take(length).collect()
}
