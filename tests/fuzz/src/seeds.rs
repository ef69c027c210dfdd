//! Sound inputs, and some nearly so, for mutation to begin with.

#[path = "../../../host/plugin/tests/support/guests.rs"]
#[allow(clippy::unwrap_used, reason = "its texts are in the repository")]
mod guests;

mod requests;

use std::fs;
use std::io;

use transom_tests::needs::target_dir;
use transom_tests::sample::{self, Compression, Options, Sample};

use crate::targets::{self, MEDIA_TYPES};

/// The seeds of a target.
///
/// # Errors
/// What cannot be written to a temporary folder, or be compressed.
pub fn seeds(target: &str) -> io::Result<Vec<Vec<u8>>> {
    match target {
        "tar" => tars(),
        "scan" => Ok(tars()?
            .into_iter()
            .step_by(4)
            .map(|tar| tar[1..].to_vec())
            .collect()),
        "chain" => chains(),
        "image" => images(),
        "plugin" => Ok(components()),
        "filter" => Ok(filters()),
        "request" => Ok(requests::seeds()),
        _ => Ok(texts()),
    }
}

fn sample() -> io::Result<(tempfile::TempDir, Sample)> {
    let folder = targets::temporary();
    let options = Options {
        devices: true,
        xattrs: true,
        capabilities: true,
    };
    let sample = sample::small(&options, &folder.path().join("image"))?;
    Ok((folder, sample))
}

/// Layers of the sample, and one entry of every kind with names that lead astray; the first byte chooses how they are
/// applied.
fn tars() -> io::Result<Vec<Vec<u8>>> {
    let (_folder, sample) = sample()?;
    // A tar of hundreds of kilobytes is slow to apply, and its single bytes are rarely met.
    const LONG: usize = 16 << 10;
    let mut all: Vec<Vec<u8>> = sample
        .layers
        .iter()
        .map(|layer| layer.tar[..layer.tar.len().min(LONG)].to_vec())
        .collect();
    all.extend(
        [
            tar::Header::new_ustar(),
            tar::Header::new_gnu(),
            tar::Header::new_old(),
        ]
        .map(|header| astray(&header)),
    );
    let with_choice = |tar: &Vec<u8>| {
        (0..4)
            .map(|choice| [&[choice], &tar[..]].concat())
            .collect::<Vec<_>>()
    };
    Ok(all.iter().flat_map(with_choice).collect())
}

/// Names that lead out of a folder when they are resolved without care; `dir`, `up`, `out`, `absolute`, `in` and `loop`
/// are there.
pub(crate) const NAMES: [&str; 22] = [
    "dir",
    "dir/file",
    "up/beside/file",
    "out/file",
    "absolute/file",
    "in/file",
    "loop/file",
    "../beside/file",
    "/etc/passwd",
    "a/../../beside",
    ".wh.dir",
    "dir/.wh.file",
    "dir/.wh..wh..opq",
    "up/.wh.beside",
    "out/.wh.file",
    ".wh...",
    ".wh..wh.plnk/x",
    ".",
    "..",
    "/",
    "out",
    "absolute/link",
];

fn astray(plain: &tar::Header) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, kind) in NAMES.iter().zip(b"05121205643 057Lxg1S".iter().cycle()) {
        let mut header = plain.clone();
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        let link = NAMES[(usize::from(*kind) + name.len()) % NAMES.len()];
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        fields.linkflag = [*kind];
        header.set_mode(0o4755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        let data = if matches!(*kind, b'0' | b'L' | b'x' | b'g') {
            &b"20 mtime=1600000000\n"[..]
        } else {
            b""
        };
        header.set_size(data.len() as u64);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(data);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// Blobs of every format; the first two bytes choose the media type and how they are read.
fn chains() -> io::Result<Vec<Vec<u8>>> {
    let text = b"some text, again and again; ".repeat(300);
    let (gzip, zstd) = (
        Compression::Gzip.compress(&text)?,
        Compression::Zstd.compress(&text)?,
    );
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &zstd].concat();
    let blobs = [
        [gzip.clone(), gzip.clone()].concat(),
        [zstd.clone(), skippable.clone(), zstd.clone()].concat(),
        Compression::GzipMembers.compress(&vec![b'x'; 300_000])?,
        Compression::Zstd.compress(&vec![0; 2 << 20])?,
        gzip,
        zstd,
        skippable,
        text,
    ];
    let typed = |blob: &Vec<u8>| {
        (0..MEDIA_TYPES.len() as u8)
            .map(|kind| [&[kind, kind * 7], &blob[..]].concat())
            .collect::<Vec<_>>()
    };
    Ok(blobs.iter().flat_map(typed).collect())
}

/// Archives of all forms, with their layers cut short: their index is what matters.
fn images() -> io::Result<Vec<Vec<u8>>> {
    use transom_tests::sample::{ImageBuilder, Meta, Shape};
    let folder = targets::temporary();
    let mut all = Vec::new();
    for shape in [Shape::Flat, Shape::Nested] {
        let mut image = ImageBuilder::new();
        for compression in [Compression::Gzip, Compression::Zstd] {
            image.layer("layer", compression, |layer| {
                layer.file(b"file", &Meta::new(0o644), b"x");
                Ok(())
            })?;
        }
        let sample = image.write(&folder.path().join(format!("{shape:?}")), "tag", shape)?;
        let file = folder.path().join("archive");
        sample.write_oci_archive(&file)?;
        all.push(fs::read(&file)?);
        sample.write_docker_archive(&file)?;
        all.push(fs::read(&file)?);
    }
    all.push(Compression::Gzip.compress(&all[0])?);
    all.push(Compression::Zstd.compress(&all[1])?);
    Ok(all)
}

/// Test guests, and the plugins under `plugins/` as far as they are built.
fn components() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = ["pass", "trap", "describe-trap", "garbage-list"]
        .map(guests::guest)
        .into();
    all.push(guests::spy());
    all.extend(["xz", "secrets", "count"].iter().filter_map(|name| {
        fs::read(
            target_dir()
                .join("plugins")
                .join(name)
                .join(format!("{name}.wasm")),
        )
        .ok()
    }));
    all
}

fn filters() -> Vec<Vec<u8>> {
    let texts = [
        r#"name==a, labels."k/y"==é,labels.a.b!=x"#,
        r"name~=/^a|\\d{2,3}$/,labels.a",
        r#"name~=|[[:alpha:]\\]-z]+|,name=="\x61\u00e9\U0001f600\101\n""#,
        r#"wasm.semver=="labels.version >= 1.2",wasm.cel!=true"#,
        r#"name~="(?i)\\Q[a\\E\\pL\\p{^Greek}[^]a--b&&c]\\b""#,
        "labels.version >= 1.2, != 1.3.* || tag ~ ^2 && annotations.\"a b\" = v1.0.0-rc.1",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

fn texts() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "5f".repeat(32));
    let texts = [
        "image:tag".to_owned(),
        format!("oci-archive:dir/file.tar:docker.io/library/name:1.2@{digest}"),
        format!("docker-archive:-@{digest}"),
        digest,
        format!("sha512:{}", "0a".repeat(64)),
        "linux/arm64/v8".to_owned(),
        "linux(10.0.1)/amd64".to_owned(),
        "windows/arm/v7".to_owned(),
        include_str!("../../../plugins/xz/plugin.toml").to_owned(),
        include_str!("../../../plugins/secrets/plugin.toml").to_owned(),
        include_str!("../../../plugins/semver/plugin.toml").to_owned(),
    ];
    texts
        .iter()
        .enumerate()
        .map(|(number, text)| [&[number as u8], text.as_bytes()].concat())
        .collect()
}
