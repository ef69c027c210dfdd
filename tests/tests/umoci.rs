//! An image of a Debian root filesystem in several layers, unpacked by umoci and by Transom: the trees are the same in
//! mode, owner, times, extended attributes, content and link structure.
//!
//! The differences that are meant, and that the comparison leaves out:
//! - The root folder's own mode, owner and times. umoci takes them from the lowest layer's `./` entry; containerd never
//!   applies that entry to the folder that it was given, and neither does Transom.
//! - The time of a folder that a layer does not list although it changes an entry in it. umoci sets it back to what it was;
//!   containerd does not, so it is the time of unpacking, and Transom does as containerd.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

use std::fs;
use std::io::empty;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use transom_image::unpack::{Observer, UnpackOptions, UnpackedLayer, unpack};
use transom_image::{Layer, OpenOptions, PlatformChoice, Reference, Source, resolve};
use transom_layer::chain::Step;
use transom_oci::media_type::{LAYER_TAR, LAYER_TAR_GZIP, LAYER_TAR_ZSTD};
use transom_tests::tree::{Difference, Ignore, Tree, diff, report, walk};
use transom_tests::{debian, require_program, require_root, skip, target_dir};

/// Runs a program that must succeed.
#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
}

/// A place for an image and the trees made from it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn umoci(&self, arguments: &[&str]) {
        run("umoci", arguments);
    }

    /// What the folder that umoci packs looks like, changed and packed as one more layer.
    fn layer(&self, change: impl FnOnce(&Path)) {
        change(&self.path("bundle/rootfs"));
        let (image, bundle) = (format!("{}:debian", self.text("layout")), self.text("bundle"));
        self.umoci(&["repack", "--refresh-bundle", "--image", &image, &bundle]);
    }
}

/// Makes the image: the root filesystem, then what upper layers add, change and take away.
fn make_image(place: &Place, rootfs: &Path) {
    let (layout, bundle) = (place.text("layout"), place.text("bundle"));
    let image = format!("{layout}:debian");
    place.umoci(&["init", "--layout", &layout]);
    place.umoci(&["new", "--image", &image]);
    place.umoci(&["unpack", "--image", &image, &bundle]);
    place.layer(|root| {
        let (tar, root) = (rootfs.to_str().unwrap(), root.to_str().unwrap());
        let options = ["--numeric-owner", "--xattrs", "--xattrs-include=*"];
        run(
            "tar",
            &[&["-x", "-p", "-C", root, "-f", tar], &options[..]].concat(),
        );
    });
    place.layer(add);
    place.layer(take_away);
    place.layer(replace);
}

fn add(root: &Path) {
    let path = |name: &str| root.join(name);
    fs::create_dir_all(path("opt/added/deep/er")).unwrap();
    fs::write(path("opt/added/file"), "added\n".repeat(10_000)).unwrap();
    fs::write(
        path("opt/added/deep/er/noise"),
        (0..300_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect::<Vec<_>>(),
    )
    .unwrap();
    fs::write(path("opt/added/empty"), "").unwrap();
    for link in ["opt/added/link-a", "opt/link-b", "usr/link-c"] {
        fs::hard_link(path("opt/added/file"), path(link)).unwrap();
    }
    // A name of a file that a lower layer has.
    fs::hard_link(path("etc/debian_version"), path("etc/debian_version-too")).unwrap();
    symlink("../added/nowhere", path("opt/added/dangling")).unwrap();
    symlink("/usr/bin", path("opt/added/absolute")).unwrap();
    fs::write(path(&format!("opt/added/{}", "long".repeat(50))), "a long name").unwrap();
    fs::write(path("opt/added/\u{fc}ml\u{e4}ut \u{2713}"), "not ASCII").unwrap();
    let shell = |script: &str| {
        run(
            "sh",
            &["-c", &format!("cd '{}/opt/added' && {script}", root.display())],
        );
    };
    shell("setfattr -n user.note -v 'a note' file && setfattr -n user.binary -v 0x00ff0a0d deep/er/noise");
    // CAP_NET_BIND_SERVICE, permitted and effective, in revision 2.
    shell("setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 deep/er/noise");
    shell(
        "cp file setuid && chmod 6755 setuid && cp file theirs && chown 1234:4321 theirs && chmod 4711 theirs",
    );
    shell(
        "mkdir sticky && chmod 3777 sticky && chown 7:8 sticky && mkfifo -m 620 fifo && chown -h 5:6 dangling",
    );
    shell("mknod -m 640 null c 1 3 && mknod disk b 259 70000 && truncate -s 3M sparse && printf x >>sparse");
    shell(
        "touch -d '2001-02-03 04:05:06.123456789 UTC' file && touch -h -d '1999-01-01 UTC' absolute && touch -d '1969-12-31 23:59:50 UTC' empty",
    );
}

fn take_away(root: &Path) {
    fs::remove_file(root.join("opt/link-b")).unwrap();
    fs::remove_file(root.join("etc/debian_version-too")).unwrap();
    fs::remove_dir_all(root.join("usr/share/doc")).unwrap();
    fs::remove_dir_all(root.join("opt/added/deep/er")).unwrap();
    for below in fs::read_dir(root.join("var/log")).unwrap() {
        let path = below.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
    fs::create_dir_all(root.join("usr/share/doc/new")).unwrap();
    fs::write(root.join("usr/share/doc/new/file"), "the only one here").unwrap();
}

fn replace(root: &Path) {
    let path = |name: &str| root.join(name);
    // A folder by a file, a file by a folder, a link to a folder by a folder, a folder by a link.
    fs::remove_dir_all(path("opt/added/deep")).unwrap();
    fs::write(path("opt/added/deep"), "a file now").unwrap();
    fs::remove_file(path("opt/added/empty")).unwrap();
    fs::create_dir(path("opt/added/empty")).unwrap();
    fs::write(path("opt/added/empty/inside"), "").unwrap();
    fs::remove_file(path("opt/added/absolute")).unwrap();
    fs::create_dir(path("opt/added/absolute")).unwrap();
    fs::write(path("opt/added/absolute/inside"), "").unwrap();
    fs::remove_dir(path("opt/added/sticky")).unwrap();
    symlink("../../etc", path("opt/added/sticky")).unwrap();
    // One of several names gets a file of its own; modes and owners change and nothing else.
    fs::remove_file(path("usr/link-c")).unwrap();
    fs::write(path("usr/link-c"), "alone").unwrap();
    run("chmod", &["0750", path("var/cache").to_str().unwrap()]);
    run(
        "chown",
        &[
            "99:98",
            path("etc/hostname").to_str().unwrap(),
            path("etc/apt").to_str().unwrap(),
        ],
    );
    run(
        "sh",
        &["-c", &format!("echo changed >>'{}/etc/passwd'", root.display())],
    );
}

struct Silent;

impl Observer for Silent {
    fn layer_started(&self, _: usize, _: &Layer, _: &[Step], _: &Arc<AtomicU64>) {}
    fn layer_done(&self, _: &UnpackedLayer) {}
}

/// Unpacks with Transom; gives the tree and the layers' media types.
fn by_transom(image: &str, target: &Path, spool: &Path) -> (Tree, Vec<String>) {
    let reference = Reference::parse(image.as_ref()).unwrap();
    let source = Source::open(&reference, &mut empty(), &OpenOptions::new(spool)).unwrap();
    let image = resolve(&source, &reference.selector, &PlatformChoice::Host).unwrap();
    unpack(&source, &image, target, &UnpackOptions::default(), &Silent)
        .unwrap_or_else(|error| panic!("{error}"));
    let types = image
        .layers
        .iter()
        .map(|layer| layer.descriptor.media_type.clone())
        .collect();
    let tree = walk(target).unwrap();
    fs::remove_dir_all(target).unwrap();
    (tree, types)
}

/// Folders that the layer of [`replace`] does not list, although it has new files for them.
const UNLISTED: [&[u8]; 1] = [b"etc"];

#[track_caller]
fn assert_same(want: &Tree, have: &Tree) {
    let mut differences = diff(want, have, &Ignore::default());
    differences.retain(|difference| {
        !matches!(difference, Difference::Changed { path, field: "mtime", .. } if UNLISTED.contains(&&path[..]))
    });
    assert!(differences.is_empty(), "{}", report(&differences, 40));
}

#[test]
fn a_debian_root_filesystem_is_unpacked_as_umoci_does() {
    if !require_root() {
        return;
    }
    for program in ["umoci", "skopeo", "debootstrap", "setfattr"] {
        if require_program(program).is_none() {
            return;
        }
    }
    let rootfs = match debian::root_filesystem() {
        Ok(rootfs) => rootfs,
        Err(reason) => return skip(&format!("needs a Debian root filesystem: {reason}")),
    };
    // The target folder is on a disk with all attributes, which /tmp may not be.
    let place = Place {
        folder: tempfile::tempdir_in(target_dir()).unwrap(),
    };
    make_image(&place, &rootfs);
    let image = format!("{}:debian", place.text("layout"));
    place.umoci(&["unpack", "--image", &image, &place.text("theirs")]);
    let want = walk(&place.path("theirs/rootfs")).unwrap();
    let (files, bytes) = want.files();
    println!("{} entries, {files} files of {bytes} bytes", want.entries.len());
    assert!(files > 4000, "that is no Debian");

    let (target, spool) = (place.path("ours"), place.folder.path());
    let (ours, types) = by_transom(&image, &target, spool);
    assert_eq!(types, [LAYER_TAR_GZIP; 4]);
    assert_same(&want, &ours);

    // Copies in other forms.
    let source = format!("oci:{image}");
    let (oci, docker, zstd) = (
        place.text("oci.tar"),
        place.text("docker.tar"),
        place.text("zstd"),
    );
    run(
        "skopeo",
        &["copy", "-q", &source, &format!("oci-archive:{oci}:copied")],
    );
    assert_same(&want, &by_transom(&format!("{oci}:copied"), &target, spool).0);
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            &source,
            &format!("docker-archive:{docker}:name:copied"),
        ],
    );
    let (ours, types) = by_transom(&docker, &target, spool);
    assert!(
        types.iter().all(|media_type| media_type != LAYER_TAR_GZIP),
        "{types:?}"
    );
    assert_same(&want, &ours);
    // By way of plain layers, so that every one is compressed anew.
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            "--dest-decompress",
            &source,
            &format!("dir:{}", place.text("plain")),
        ],
    );
    let plain = format!("dir:{}", place.text("plain"));
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            "--dest-compress-format",
            "zstd",
            &plain,
            &format!("oci:{zstd}:copied"),
        ],
    );
    let (ours, types) = by_transom(&format!("{zstd}:copied"), &target, spool);
    assert_eq!(types, [LAYER_TAR_ZSTD; 4], "not {LAYER_TAR}");
    assert_same(&want, &ours);
}
