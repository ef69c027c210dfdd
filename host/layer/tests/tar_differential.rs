//! The tar reader beside Python's `tarfile` and GNU tar, on good archives and on archives with bytes changed: what both
//! of them accept and agree on, we must read the same.
//!
//! Where we differ on purpose, because Go's `archive/tar`, and so containerd, does:
//!
//! | archive | Python and GNU tar | ours | why |
//! |---|---|---|---|
//! | a PAX global header | its records hold for all entries after it | checked, then ignored | containerd ignores it |
//! | type `7`, contiguous | a regular file | an unknown kind, which `apply` refuses | containerd refuses it |
//! | a number field with a sign or junk | read as far as it goes | refused | Go refuses it; guessing lets two readers see two archives |
//! | a PAX record with a NUL in its key, or a length that does not fit | skipped | refused | Go refuses it |
//! | a sparse map with junk in it, or type `S` without GNU's magic | read as far as it goes | refused | Go refuses it |
//! | an empty PAX value | an empty or missing value | the header block's value | POSIX and Go |
//! | a header block with a bad checksum, or a lone block of zeros, after the first entry | the end, or skipped with a warning | refused | silence would lose files |
//! | a size on a folder, link or device | GNU tar skips that many bytes for some kinds | no data | Go and POSIX's ustar |
//!
//! The cases of the table that both of them agree on are told by [`is_known_difference`].

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "apply_support/archive.rs"]
#[expect(dead_code, reason = "shared by several test programs")]
mod archive;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use archive::{Archive, Header};
use bytes::Bytes;
use transom_layer::tar::{EntryKind, Reader, TarError, TarLimits};

/// What is compared of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    kind: char,
    path: String,
    uid: i64,
    gid: i64,
    size: u64,
    mtime: i64,
    link: String,
}

const PYTHON: &str = r#"
import sys, tarfile, os, json
out = {}
kinds = {b"0": "-", b"\0": "-", b"S": "-", b"7": "-", b"1": "h", b"2": "l", b"3": "c", b"4": "b", b"5": "d", b"6": "p"}
for name in sorted(os.listdir(sys.argv[1])):
    if not name.endswith(".tar"):
        continue
    try:
        rows = []
        with tarfile.open(os.path.join(sys.argv[1], name), "r:", errors="surrogateescape") as tar:
            for m in tar:
                kind = kinds.get(m.type, "?")
                size = m.size if kind == "-" else 0
                rows.append("\t".join(str(x) for x in (
                    kind, m.name.rstrip("/"), m.uid, m.gid, size, int(m.mtime // 1), m.linkname if kind in "hl" else "")))
        text = "\n".join(rows)
        text.encode("utf-8")
    except Exception as e:
        text = "ERROR " + repr(e).replace("\n", " ")
    print(name)
    print(text)
    print("---")
"#;

fn base() -> Vec<Archive> {
    let named = |name: &str| Header::new(name.as_bytes(), b'0', 0o644, 5);
    let mut gnu = named("gnu");
    gnu.text(257, b"ustar  \0");
    let mut v7 = named("v7");
    v7.text(257, &[0; 8]);
    let mut prefixed = named("name");
    prefixed.text(345, b"prefix");
    let mut large = named("large");
    large.text(108, &[0x80, 0, 0, 0, 0, 0x20, 0, 1]);
    let mut old = named("old");
    old.text(
        136,
        &[
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf6,
        ],
    );
    vec![
        Archive::new()
            .dir("d/", 0o755)
            .file("d/f", b"12345", 0o644)
            .symlink("f", "d/s")
            .link("d/f", "h"),
        Archive::new()
            .raw(&gnu, b"12345")
            .raw(&v7, b"12345")
            .raw(&prefixed, b"12345"),
        Archive::new()
            .raw(&large, b"12345")
            .raw(&old, b"12345")
            .file("last", b"", 0o600),
        Archive::new()
            .pax(&[
                ("path", b"long/path"),
                ("uid", b"77"),
                ("mtime", b"12.75"),
                ("size", b"5"),
            ])
            .raw(&Header::new(b"short", b'0', 0o644, 0), b"12345")
            .file("after", b"abc", 0o644),
        Archive::new()
            .extension(b'L', &[&[b'l'; 200][..], b"\0"].concat())
            .file("short", b"12345", 0o644)
            .extension(b'K', &[&[b't'; 200][..], b"\0"].concat())
            .symlink("short", "link"),
        Archive::new()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"sparse"),
                ("GNU.sparse.realsize", b"1000"),
            ])
            .file("GNUSparseFile.0/sparse", &sparse_map(), 0o644)
            .file("after", b"abc", 0o644),
        Archive::new()
            .device("null", b'3', 1, 3)
            .device("disk", b'4', 8, 1)
            .file("after", b"abc", 0o644),
    ]
}

fn sparse_map() -> Vec<u8> {
    let mut map = b"1\n500\n4\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"data");
    map
}

/// A small generator of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// The archives with one to three bytes of header blocks changed and the checksums made to fit again.
fn mutated(count: usize) -> Vec<Vec<u8>> {
    let interesting = b"\0 01237689+-_/xgLKS5\x80\xff\n=";
    let mut numbers = Numbers(20_261_122);
    let bases = base();
    let mut all: Vec<Vec<u8>> = bases.iter().map(|archive| archive.clone().end()).collect();
    for index in 0..count {
        let mut tar = bases[index % bases.len()].clone().end();
        for _ in 0..=numbers.below(3) {
            let block = numbers.below(tar.len() / 512 - 2) * 512;
            let at = block + numbers.below(512);
            tar[at] = interesting[numbers.below(interesting.len())];
            let header = &mut tar[block..block + 512];
            // Only header blocks have a checksum, and "ustar" or a known number where it stands.
            if header[148..154].iter().all(|byte| (b'0'..=b'7').contains(byte)) {
                header[148..156].fill(b' ');
                let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
                header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        all.push(tar);
    }
    all
}

fn ours(tar: &[u8]) -> Result<Vec<Seen>, TarError> {
    let mut source = Some(Bytes::copy_from_slice(tar));
    let mut reader = Reader::new(&mut source, TarLimits::default());
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let kind = match entry.kind {
            EntryKind::File => '-',
            EntryKind::HardLink => 'h',
            EntryKind::Symlink => 'l',
            EntryKind::CharDevice => 'c',
            EntryKind::BlockDevice => 'b',
            EntryKind::Directory => 'd',
            EntryKind::Fifo => 'p',
            EntryKind::Other(_) => '?',
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        all.push(Seen {
            kind,
            path: text(&entry.path).trim_end_matches('/').to_owned(),
            uid: entry.uid,
            gid: entry.gid,
            size: if kind == '-' { entry.size } else { 0 },
            mtime: entry.mtime.seconds,
            link: if matches!(kind, 'h' | 'l') {
                text(&entry.link)
            } else {
                String::new()
            },
        });
        while reader.next_data()?.is_some() {}
    }
    Ok(all)
}

fn pythons(python: &Path, folder: &Path) -> BTreeMap<String, Option<Vec<Seen>>> {
    let output = Command::new(python)
        .args(["-c", PYTHON])
        .arg(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut all = BTreeMap::new();
    for part in text.split("\n---\n").filter(|part| !part.is_empty()) {
        let (name, rows) = part.split_once('\n').unwrap();
        let rows: Vec<&str> = rows.lines().collect();
        let seen = rows.iter().map(|row| python_row(row)).collect();
        all.insert(name.to_owned(), seen);
    }
    all
}

fn python_row(row: &str) -> Option<Seen> {
    let fields: Vec<&str> = row.split('\t').collect();
    let [kind, path, uid, gid, size, mtime, link] = fields[..] else {
        return None;
    };
    Some(Seen {
        kind: kind.chars().next()?,
        path: path.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        size: size.parse().ok()?,
        mtime: mtime.parse().ok()?,
        link: link.to_owned(),
    })
}

/// GNU tar's names, sizes, owners and targets; `None` if it complains about anything.
fn gnus(tar: &Path, archive: &Path) -> Option<Vec<Seen>> {
    let output = Command::new(tar)
        .args(["-tvf"])
        .arg(archive)
        .args([
            "--numeric-owner",
            "--full-time",
            "--utc",
            "--quoting-style=literal",
        ])
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .output()
        .unwrap();
    if !output.status.success() || !output.stderr.is_empty() {
        return None;
    }
    String::from_utf8(output.stdout)
        .ok()?
        .lines()
        .map(gnu_row)
        .collect()
}

fn gnu_row(row: &str) -> Option<Seen> {
    let mut words = row.split_whitespace();
    let kind = words.next()?.chars().next()?;
    let (uid, gid) = words.next()?.split_once('/')?;
    let size = words.next()?;
    let (date, time) = (words.next()?, words.next()?);
    let rest = row.split_once(&format!("{date} {time} "))?.1;
    let (path, link) = match kind {
        'l' => rest.split_once(" -> ")?,
        'h' => rest.split_once(" link to ")?,
        _ => (rest, ""),
    };
    Some(Seen {
        kind,
        path: path.trim_end_matches('/').to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        size: if kind == '-' { size.parse().ok()? } else { 0 },
        // The time is compared with Python's only: GNU tar prints it for people.
        mtime: 0,
        link: link.to_owned(),
    })
}

/// Whether the archive is one of those in the table above.
fn is_known_difference(ours: &Result<Vec<Seen>, TarError>, theirs: &[Seen]) -> bool {
    match ours {
        Err(TarError::Corrupt { problem, .. }) => {
            problem.ends_with("is not a number")
                || *problem == "a PAX record is malformed"
                || *problem == "the map of a sparse file is malformed"
                || *problem == "a sparse file in a header that is not GNU's"
        }
        Err(_) => false,
        Ok(ours) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|(one, other)| one == other || one.kind == '?')
        }
    }
}

#[test]
fn what_python_and_gnu_tar_agree_on_is_what_we_read() {
    let (Some(python), Some(tar)) = (
        transom_tests::require_program("python3"),
        transom_tests::require_program("tar"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let archives = mutated(400);
    for (index, archive) in archives.iter().enumerate() {
        fs::write(folder.path().join(format!("{index:04}.tar")), archive).unwrap();
    }
    let pythons = pythons(&python, folder.path());
    let (mut agreed, mut wrong) = (0, Vec::new());
    for (index, archive) in archives.iter().enumerate() {
        let name = format!("{index:04}.tar");
        let Some(Some(python)) = pythons.get(&name) else {
            continue;
        };
        let Some(gnu) = gnus(&tar, &folder.path().join(&name)) else {
            continue;
        };
        let mut timeless = python.clone();
        for seen in &mut timeless {
            seen.mtime = 0;
        }
        if timeless != gnu {
            continue;
        }
        agreed += 1;
        let ours = ours(archive);
        let same = ours.as_ref().is_ok_and(|ours| ours == python);
        if !same && (index < base().len() || !is_known_difference(&ours, python)) {
            wrong.push(format!("{name}: both have {python:?}, we have {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(agreed > 100, "only {agreed} archives were comparable");
}

#[test]
fn the_differences_of_the_table_are_real() {
    let global = archive::pax_body(&[("uid", b"5")]);
    let ours_of = |archive: Archive| ours(&archive.end());
    let seen = ours_of(Archive::new().extension(b'g', &global).file("f", b"", 0o644)).unwrap();
    assert_ne!(seen[0].uid, 5);
    let contiguous = Archive::new()
        .raw(&Header::new(b"f", b'7', 0o644, 3), b"abc")
        .file("g", b"", 0o644);
    assert_eq!(
        ours_of(contiguous)
            .unwrap()
            .iter()
            .map(|seen| seen.kind)
            .collect::<String>(),
        "?-"
    );
    let mut signed = Header::new(b"f", b'0', 0o644, 0);
    signed.text(108, b"+000001\0");
    assert!(ours_of(Archive::new().raw(&signed, b"")).is_err());
    let empty = Archive::new()
        .pax(&[("path", b""), ("uid", b"")])
        .file("f", b"", 0o644);
    assert_eq!(ours_of(empty).unwrap()[0].path, "f");
    let mut sized = Header::new(b"d/", b'5', 0o755, 512);
    sized.text(0, b"d/");
    assert_eq!(
        ours_of(Archive::new().raw(&sized, b"").file("f", b"", 0o644))
            .unwrap()
            .len(),
        2
    );
}
