//! The two sample images: what is in which layer.

use std::fs;
use std::io;
use std::path::Path;

use super::layer::{LayerWriter, Meta};
use super::real::{self, Budget};
use super::specimens::{self, noise};
use super::{Compression, ImageBuilder, Sample, Shape};

/// What the machine on which the image will be unpacked can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Device nodes: root may make them.
    pub devices: bool,
    /// `user.` attributes: the file system must have them.
    pub xattrs: bool,
    /// `security.capability`: root may set it.
    pub capabilities: bool,
}

impl Options {
    /// Nothing that not everyone can unpack everywhere.
    #[must_use]
    pub fn plain() -> Options {
        Options {
            devices: false,
            xattrs: false,
            capabilities: false,
        }
    }

    /// What this process can unpack to a folder that exists, found by trying.
    #[must_use]
    pub fn here(folder: &Path) -> Options {
        use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};
        let file = folder.join(format!(".transom-probe-{}", std::process::id()));
        let device = folder.join(format!(".transom-probe-{}.device", std::process::id()));
        let can = |name: &str, value: &[u8]| setxattr(&file, name, value, XattrFlags::empty()).is_ok();
        let made = fs::write(&file, "").is_ok();
        let options = Options {
            devices: mknodat(CWD, &device, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)).is_ok(),
            xattrs: made && can("user.transom", b"x"),
            capabilities: made && can("security.capability", &specimens::CAPABILITY),
        };
        for probe in [&file, &device] {
            // It may never have been made.
            let _ = fs::remove_file(probe);
        }
        options
    }
}

/// Where the image has something that a secret scanner must find.
pub const SECRETS_FILE: &str = "etc/demo/credentials";

/// Makes a small image (about half a megabyte) of generated files, with the same bytes everywhere for the same
/// options: layers in gzip, zstd, xz, gzip of many members, and plain tar.
///
/// # Errors
/// What cannot be written.
pub fn small(options: &Options, folder: &Path) -> io::Result<Sample> {
    small_layers(options)?.write(folder, "small", Shape::Flat)
}

/// The layers of [`small`].
fn small_layers(options: &Options) -> io::Result<ImageBuilder> {
    let mut image = ImageBuilder::new();
    image.layer("files", Compression::Gzip, |layer| {
        to_be_changed(layer)?;
        for number in 0..40_usize {
            let name = format!("usr/share/small/{}/{number}", number % 7);
            layer.file(
                name.as_bytes(),
                &Meta::new(0o644),
                format!("{number}\n").repeat(number).as_bytes(),
            );
        }
        Ok(())
    })?;
    image.layer("specimens", Compression::Zstd, |layer| {
        specimens::add(layer, options)
    })?;
    image.layer("only a plugin reads this", Compression::Xz, |layer| {
        layer.file(
            b"usr/share/xz/text",
            &Meta::new(0o644),
            b"tar in xz\n".repeat(5000).as_slice(),
        );
        layer.file(b"usr/share/xz/noise", &Meta::new(0o600), &noise(10_000));
        Ok(())
    })?;
    image.layer("changes", Compression::GzipMembers, changes)?;
    image.layer("a plain tar", Compression::None, |layer| {
        layer.file(b"etc/plain", &Meta::new(0o644), b"not compressed\n");
        Ok(())
    })?;
    Ok(image)
}

/// Makes the demo image: about 60 MB of this machine's own programs, libraries and documents, with the
/// specimens of [`small`], a nested index and a second platform.
///
/// # Errors
/// What cannot be read or written.
pub fn demo(options: &Options, folder: &Path) -> io::Result<Sample> {
    const MIB: u64 = 1 << 20;
    let budget = |files, mib, file_bytes| Budget {
        files,
        bytes: mib * MIB,
        file_bytes,
    };
    let mut image = ImageBuilder::new();
    image.layer("settings and programs", Compression::Gzip, |layer| {
        to_be_changed(layer)?;
        real::add_folder(layer, Path::new("/etc"), budget(400, 4, MIB), options)?;
        real::add_folder(layer, Path::new("/usr/bin"), budget(300, 24, 3 * MIB), options)
    })?;
    image.layer("libraries", Compression::Zstd, |layer| {
        real::add_folder(layer, Path::new("/usr/lib"), budget(600, 24, 4 * MIB), options)
    })?;
    image.layer("documents, for a plugin to read", Compression::Xz, |layer| {
        real::add_folder(layer, Path::new("/usr/share/doc"), budget(300, 6, MIB), options)?;
        specimens::add(layer, options)
    })?;
    image.layer("changes", Compression::GzipMembers, |layer| {
        layer.whiteout(b"usr/share/doc/base-files");
        changes(layer)
    })?;
    image.layer("a plain tar", Compression::None, |layer| {
        layer.file(b"etc/plain", &Meta::new(0o644), b"not compressed\n");
        Ok(())
    })?;
    image.write(folder, "demo", Shape::Nested)
}

/// What [`changes`] will change, in a layer below it.
fn to_be_changed(layer: &mut LayerWriter<'_>) -> io::Result<()> {
    let meta = Meta::new(0o644);
    for name in [
        "removed-file",
        "removed/with/much/under/it",
        "removed/and/more",
        "opaque/old",
        "opaque/old-folder/file",
        "opaque-empty/file",
        "changed",
        "file-to-folder",
        "folder-to-file/inside",
        "folder-to-link/inside",
        "linked",
    ] {
        layer.file(format!("var/demo/{name}").as_bytes(), &meta, name.as_bytes());
    }
    layer.symlink(b"var/demo/link-to-file", &Meta::new(0o777), b"changed");
    layer.hard_link(b"var/demo/other-name", b"var/demo/linked")?;
    layer.dir(b"var/demo/chmod", &Meta::new(0o755));
    layer.file(b"var/demo/chmod/kept", &meta, b"stays");
    Ok(())
}

/// What an upper layer does to lower ones: remove, hide, replace, change.
fn changes(layer: &mut LayerWriter<'_>) -> io::Result<()> {
    let meta = Meta::new(0o644).at(1_710_000_000, 5);
    layer.whiteout(b"var/demo/removed-file");
    layer.whiteout(b"var/demo/removed");
    layer.opaque(b"var/demo/opaque");
    layer.file(b"var/demo/opaque/new", &meta, b"the only one here");
    layer.opaque(b"var/demo/opaque-empty");
    layer.file(b"var/demo/changed", &meta, b"longer than it was before");
    layer.file(b"var/demo/file-to-folder/inside", &meta, b"");
    layer.file(b"var/demo/folder-to-file", &meta, b"");
    layer.symlink(b"var/demo/folder-to-link", &Meta::new(0o777), b"/usr");
    layer.file(b"var/demo/link-to-file", &meta, b"not written through the link");
    // One of two names gets a new file, the other keeps the old one.
    layer.file(b"var/demo/linked", &meta, b"alone now");
    layer.dir(b"var/demo/chmod", &Meta::new(0o500).at(1_720_000_000, 7));
    layer.file(SECRETS_FILE.as_bytes(), &Meta::new(0o600), &fake_secrets());
    Ok(())
}

/// Made up, and put together here so that scanners of source code find nothing.
fn fake_secrets() -> Vec<u8> {
    let key_id = ["AK", "IA", "QZ7TRANS2MDEM34X"].concat();
    let key = ["wJ9rTx2Lm", "Qe7VbN4kHs", "ZcP0yDfG6", "aUoE3iW8nRt1"].concat();
    let pem = |edge: &str| format!("-----{edge} RSA {} KEY-----\n", "PRIVATE");
    let body = "bm90IGEga2V5LCBtYWRlIHVwIGZvciBhIGRlbW9uc3RyYXRpb24gb25seQ==\n".repeat(4);
    format!(
        "[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {key}\n\n{}{body}{}",
        pem("BEGIN"),
        pem("END")
    )
    .into_bytes()
}
