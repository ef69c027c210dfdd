//! Images that are not what they should be: each gives its own exit code and message, and leaves nothing behind.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use transom_oci::media_type::{DOCKER_LAYER_GZIP, LAYER_TAR, LAYER_TAR_GZIP, LAYER_TAR_ZSTD};
use transom_oci::{Algorithm, Digest};
use transom_tests::sample::{Compression, LAYER_TAR_XZ};

use crate::image::{RawImage, RawLayer, Tar};
use crate::support::{DAMAGED, LIMIT, OTHER, USAGE, assert_empty, unpack};

/// What is wrong with an image, the exit code and parts of the message.
struct Case {
    name: &'static str,
    layers: Vec<RawLayer>,
    /// Damages the image on disk.
    damage: fn(&RawImage),
    code: i32,
    texts: &'static [&'static str],
}

fn case(name: &'static str, layers: Vec<RawLayer>, code: i32, texts: &'static [&'static str]) -> Case {
    Case {
        name,
        layers,
        damage: |_| {},
        code,
        texts,
    }
}

fn tar() -> Vec<u8> {
    let noise: Vec<u8> = (0..1_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    Tar::new()
        .file("first", b"1")
        .file("noise", &noise)
        .file("last", b"2")
        .end()
}

fn sound() -> RawLayer {
    RawLayer::new(&Tar::new().file("below", b"x").end(), Compression::Gzip)
}

/// A layer of which something is stored that is not what was packed.
fn stored(media_type: &str, blob: impl Into<Vec<u8>>) -> Vec<RawLayer> {
    vec![sound(), RawLayer::typed(media_type, blob.into(), &tar())]
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    bytes
}

fn packed(compression: Compression) -> Vec<u8> {
    compression.compress(&tar()).unwrap()
}

/// Damage to the last layer's blob after its digest was written down.
fn blobs() -> Vec<Case> {
    let case = |name, damage, texts| Case {
        name,
        layers: vec![sound(), RawLayer::new(&tar(), Compression::Gzip)],
        damage,
        code: DAMAGED,
        texts,
    };
    fn open(image: &RawImage) -> fs::File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(image.blobs.last().unwrap())
            .unwrap()
    }
    vec![
        case(
            "a blob is missing",
            |image| fs::remove_file(&image.blobs[1]).unwrap(),
            &["is missing", "copy the image again"],
        ),
        case(
            "a blob is short",
            |image| {
                let file = open(image);
                file.set_len(file.metadata().unwrap().len() - 1).unwrap();
            },
            &["bytes"],
        ),
        case(
            "a blob is long",
            |image| {
                let file = open(image);
                file.set_len(file.metadata().unwrap().len() + 1).unwrap();
            },
            &["bytes"],
        ),
        case(
            "a bit is flipped in the middle",
            |image| {
                let (file, mut byte) = (open(image), [0]);
                let middle = file.metadata().unwrap().len() / 2;
                file.read_exact_at(&mut byte, middle).unwrap();
                file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
            },
            &["layer 1", "is damaged", "fetch it again"],
        ),
        case(
            "a bit is flipped in gzip's own time stamp, which no decoder looks at",
            |image| {
                let file = open(image);
                file.write_all_at(&[1], 4).unwrap();
            },
            &["layer 1", "is damaged", "fetch it again"],
        ),
        case(
            "the lowest layer is no file",
            |image| {
                fs::remove_file(&image.blobs[0]).unwrap();
                fs::create_dir(&image.blobs[0]).unwrap();
            },
            &["is not a regular file"],
        ),
    ]
}

/// Layers whose digests are right and whose content is not.
fn contents() -> Vec<Case> {
    let wrong_diff_id = RawLayer {
        diff_id: Digest::of(Algorithm::Sha256, b"something else"),
        ..RawLayer::new(&tar(), Compression::Gzip)
    };
    let (gzip, zstd) = (packed(Compression::Gzip), packed(Compression::Zstd));
    let garbage = |magic: &[u8]| [magic, &[0xa5; 5000][..]].concat();
    let mut bad_checksum = tar();
    bad_checksum[512 + 512 + 3] ^= 1;
    vec![
        case(
            "the diffID is another's",
            vec![sound(), wrong_diff_id],
            DAMAGED,
            &["diffID", "the image configuration says"],
        ),
        case(
            "bytes follow the tar's end",
            {
                let longer = [tar(), vec![0; 512]].concat();
                stored(LAYER_TAR, longer)
            },
            DAMAGED,
            &["diffID"],
        ),
        case(
            "gzip is cut off",
            stored(LAYER_TAR_GZIP, cut(gzip.clone())),
            DAMAGED,
            &["corrupt gzip"],
        ),
        case(
            "gzip is damaged",
            stored(LAYER_TAR_GZIP, flipped(gzip.clone())),
            DAMAGED,
            &["layer 1"],
        ),
        case(
            "gzip is only a beginning",
            stored(LAYER_TAR_GZIP, garbage(&[0x1f, 0x8b, 8])),
            DAMAGED,
            &["gzip"],
        ),
        case(
            "gzip is followed by garbage",
            stored(LAYER_TAR_GZIP, [gzip, vec![7; 100]].concat()),
            DAMAGED,
            &["layer 1"],
        ),
        case(
            "docker's gzip is cut off",
            stored(DOCKER_LAYER_GZIP, cut(packed(Compression::Gzip))),
            DAMAGED,
            &["gzip"],
        ),
        case(
            "zstd is cut off",
            stored(LAYER_TAR_ZSTD, cut(zstd.clone())),
            DAMAGED,
            &["corrupt zstd"],
        ),
        case(
            "zstd is damaged",
            stored(LAYER_TAR_ZSTD, flipped(zstd)),
            DAMAGED,
            &["layer 1"],
        ),
        case(
            "zstd is only a beginning",
            stored(LAYER_TAR_ZSTD, garbage(&[0x28, 0xb5, 0x2f, 0xfd])),
            DAMAGED,
            &["zstd"],
        ),
        case(
            "a tar is cut off",
            stored(LAYER_TAR, cut(tar())),
            DAMAGED,
            &["the tar ends at byte", "incomplete"],
        ),
        case(
            "a tar has a wrong checksum",
            stored(LAYER_TAR, bad_checksum),
            DAMAGED,
            &["corrupt tar at byte 1024"],
        ),
        case(
            "a tar is garbage",
            stored(LAYER_TAR, garbage(b"no tar")),
            DAMAGED,
            &["corrupt tar at byte 0"],
        ),
        case("a layer is empty", stored(LAYER_TAR, ""), DAMAGED, &["diffID"]),
        case(
            "xz has no plugin",
            stored(LAYER_TAR_XZ, packed(Compression::Xz)),
            DAMAGED,
            &["nothing built in reads", LAYER_TAR_XZ, "--plugin", "--processor"],
        ),
    ]
}

/// Layers that leave the folder, or want what no layer may.
fn breakouts() -> Vec<Case> {
    let entry = |name: &str, kind: tar::EntryType, link: &str| {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        let tar = [header.as_bytes().to_vec(), vec![0; 1024]].concat();
        vec![sound(), RawLayer::new(&tar, Compression::None)]
    };
    vec![
        case(
            "a hard link leads to nothing",
            entry("a", tar::EntryType::Link, "../../../etc/passwd"),
            OTHER,
            &["layer 1"],
        ),
        case(
            "a whiteout hides the folder above",
            entry("a/.wh...", tar::EntryType::Regular, ""),
            DAMAGED,
            &["layer 1"],
        ),
        case(
            "a type is unknown",
            entry("a", tar::EntryType::new(b'Q'), ""),
            DAMAGED,
            &["layer 1", "type"],
        ),
    ]
}

fn unreadable() -> Vec<Case> {
    vec![case(
        "nobody takes the media type",
        stored("application/x-strange", "?"),
        USAGE,
        &[
            "layer 1",
            "no processor for media type application/x-strange",
            "processor plugin (--plugin)",
            "external processor (--processor)",
        ],
    )]
}

#[test]
fn every_kind_of_damage_has_its_message_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cases = blobs()
        .into_iter()
        .chain(contents())
        .chain(breakouts())
        .chain(unreadable());
    for (number, case) in cases.enumerate() {
        println!("{}", case.name);
        let image = RawImage::write(&folder.path().join(format!("image-{number}")), &case.layers);
        (case.damage)(&image);
        let absent = folder.path().join("absent");
        unpack(&image.layout, &absent, &[]).fails(case.code, case.texts);
        assert!(!absent.exists(), "the folder is still there");
        let empty = folder.path().join(format!("empty-{number}"));
        fs::create_dir(&empty).unwrap();
        unpack(&image.layout, &empty, &[]).fails(case.code, case.texts);
        assert_empty(&empty);
    }
}

#[test]
fn what_a_failed_unpack_made_stays_when_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let layers = stored(LAYER_TAR_GZIP, cut(packed(Compression::Gzip)));
    let image = RawImage::write(&folder.path().join("image"), &layers);
    let target = folder.path().join("root");
    unpack(&image.layout, &target, &["--keep-partial"]).fails(DAMAGED, &["corrupt gzip"]);
    assert_eq!(fs::read(target.join("below")).unwrap(), b"x");
    assert_eq!(fs::read(target.join("first")).unwrap(), b"1");
}

#[test]
fn what_is_no_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("root");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let nothing = folder.path().join("nothing-in-it");
    fs::create_dir(&nothing).unwrap();
    let fails = |image: &Path| unpack(image, &target, &[]).fails(DAMAGED, &[image.to_str().unwrap()]);
    fails(&nothing);
    fails(&file("empty", b""));
    fails(&file("text", b"this is no image"));
    fails(&file("tar", &Tar::new().file("a", b"b").end()));
    fails(&file("cut.gz", &cut(packed(Compression::Gzip))));
    fails(&file("cut.tar", &cut(tar())));
    fails(&file("packed.xz", &packed(Compression::Xz)));
    assert!(!target.exists());
}

#[test]
fn limits_stop_bombs_and_can_be_raised_or_lowered() {
    let folder = tempfile::tempdir().unwrap();
    let mut tar = Tar::new();
    for number in 0..20 {
        tar = tar.file(&number.to_string(), &[]);
    }
    let zeroes = tar.file("zeroes", &vec![0; 8 << 20]).end();
    let image = RawImage::write(
        &folder.path().join("image"),
        &[RawLayer::new(&zeroes, Compression::Gzip)],
    );
    let target = folder.path().join("root");
    let fails = |flags: &[&str], text| {
        unpack(&image.layout, &target, flags).fails(LIMIT, &[text, "raise the limit"]);
        assert!(!target.exists());
    };
    fails(&["--max-entries", "20"], "more than 20 entries");
    fails(&["--max-layer-size", "8M"], "--max-layer-size");
    unpack(
        &image.layout,
        &target,
        &["--max-entries", "21", "--max-layer-size", "9M"],
    )
    .ok();
}

/// The ratio counts only beyond a gibibyte, which a bomb reaches in seconds.
#[test]
fn a_bomb_of_a_small_blob_is_stopped_by_its_ratio() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("zeroes").unwrap();
    header.set_size(3 << 30);
    header.set_mode(0o644);
    header.set_cksum();
    // Frames of zeroes, each of which is a few hundred bytes: the blob is small and quickly made.
    let frame = zstd::encode_all(&vec![0; 8 << 20][..], 1).unwrap();
    let blob = [
        zstd::encode_all(&header.as_bytes()[..], 1).unwrap(),
        frame.repeat(3 << 7),
    ]
    .concat();
    let layer = RawLayer::typed(LAYER_TAR_ZSTD, blob, b"nobody gets that far");
    let image = RawImage::write(&folder.path().join("image"), &[layer]);
    let target = folder.path().join("root");
    unpack(&image.layout, &target, &[]).fails(LIMIT, &["ratio of 200", "--max-ratio"]);
    assert!(!target.exists());
}
