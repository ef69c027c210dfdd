//! Layers on layers: whiteouts in both forms, replaced entries, missing parents, what comes after the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "apply_support/archive.rs"]
#[expect(dead_code, reason = "shared by several test programs")]
mod archive;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::Path;

use archive::{Archive, Header, apply_to};
use transom_layer::apply::{ApplyError, ApplyOptions, WhiteoutFormat};
use transom_sys::Linux;
use transom_tests::tree::walk;

fn layer(root: &Path, archive: Archive) {
    apply_to(&Linux, archive.end(), root, &ApplyOptions::default()).unwrap();
}

fn names(root: &Path) -> Vec<String> {
    walk(root)
        .unwrap()
        .entries
        .into_keys()
        .map(|path| String::from_utf8(path).unwrap())
        .collect()
}

#[test]
fn a_whiteout_removes_what_lower_layers_left() {
    let root = tempfile::tempdir().unwrap();
    layer(
        root.path(),
        Archive::new()
            .dir("d", 0o755)
            .dir("d/e", 0o755)
            .file("d/e/f", b"", 0o644)
            .file("keep", b"", 0o644)
            .symlink("keep", "s"),
    );
    layer(
        root.path(),
        Archive::new()
            .file(".wh.d", b"", 0o644)
            .file(".wh.s", b"", 0o644)
            .file(".wh.none", b"", 0o644),
    );
    assert_eq!(names(root.path()), ["keep"]);
}

#[test]
fn a_whiteout_spares_its_own_layer_in_any_order() {
    let new = |archive: Archive| {
        archive
            .dir("d", 0o755)
            .file("d/new", b"new", 0o644)
            .file("f", b"new", 0o644)
    };
    let out = |archive: Archive| archive.file(".wh.d", b"", 0o644).file(".wh.f", b"", 0o644);
    let orders = [
        out(new(Archive::new())),
        new(out(Archive::new())),
        out(out(new(Archive::new()))),
    ];
    for archive in orders {
        let root = tempfile::tempdir().unwrap();
        layer(
            root.path(),
            Archive::new()
                .dir("d", 0o755)
                .file("d/old", b"", 0o644)
                .dir("d/sub", 0o755)
                .file("d/sub/x", b"", 0o644)
                .file("f", b"old", 0o644),
        );
        layer(root.path(), archive);
        assert_eq!(names(root.path()), ["d", "d/new", "f"]);
        assert_eq!(fs::read(root.path().join("f")).unwrap(), b"new");
    }
}

#[test]
fn an_opaque_marker_spares_its_own_layer_in_any_order() {
    let new = |archive: Archive| {
        archive
            .dir("d", 0o755)
            .file("d/new", b"", 0o644)
            .file("d/implied/new", b"", 0o644)
    };
    let opaque = |archive: Archive| archive.file("d/.wh..wh..opq", b"", 0o644);
    let orders = [
        opaque(new(Archive::new())),
        new(opaque(Archive::new())),
        opaque(new(opaque(Archive::new()))),
    ];
    for archive in orders {
        let root = tempfile::tempdir().unwrap();
        layer(
            root.path(),
            Archive::new()
                .dir("d", 0o755)
                .file("d/old", b"", 0o644)
                .dir("d/implied", 0o755)
                .file("d/implied/old", b"", 0o644)
                .file("other", b"", 0o644),
        );
        layer(root.path(), archive);
        assert_eq!(
            names(root.path()),
            ["d", "d/implied", "d/implied/new", "d/new", "other"]
        );
    }
}

#[test]
fn whiteouts_follow_no_link() {
    let outer = tempfile::tempdir().unwrap();
    fs::create_dir(outer.path().join("outside")).unwrap();
    fs::write(outer.path().join("outside/file"), "x").unwrap();
    let root = outer.path().join("root");
    fs::create_dir_all(root.join("d")).unwrap();
    symlink("../../outside", root.join("d/link")).unwrap();
    symlink(outer.path().join("outside"), root.join("link")).unwrap();
    layer(
        &root,
        Archive::new()
            .file(".wh.link", b"", 0o644)
            .file("d/.wh..wh..opq", b"", 0o644),
    );
    assert_eq!(names(&root), ["d"]);
    assert!(outer.path().join("outside/file").exists());
}

#[test]
fn entries_replace_what_is_there_save_folders() {
    let root = tempfile::tempdir().unwrap();
    layer(
        root.path(),
        Archive::new()
            .dir("dir", 0o700)
            .file("dir/f", b"", 0o644)
            .dir("merged", 0o700)
            .file("merged/f", b"", 0o644)
            .file("file", b"long content", 0o600),
    );
    layer(
        root.path(),
        Archive::new()
            .file("dir", b"now a file", 0o644)
            .dir("merged", 0o711)
            .file("file", b"short", 0o640)
            .dir("file2", 0o755)
            .symlink("x", "file2"),
    );
    assert_eq!(names(root.path()), ["dir", "file", "file2", "merged", "merged/f"]);
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"short");
    assert_eq!(
        fs::metadata(root.path().join("merged")).unwrap().mode() & 0o7777,
        0o711
    );
    assert!(
        fs::symlink_metadata(root.path().join("file2"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn handles_do_not_outlive_what_they_stand_for() {
    // `a` is a link, then a folder, then a link elsewhere; each time a file goes where it leads at that point.
    let root = tempfile::tempdir().unwrap();
    layer(
        root.path(),
        Archive::new()
            .dir("one", 0o755)
            .dir("two", 0o755)
            .symlink("one", "a")
            .file("a/1", b"", 0o644)
            .dir("a", 0o755)
            .file("a/2", b"", 0o644)
            .symlink("two", "a")
            .file("a/3", b"", 0o644)
            .symlink("/one", "a")
            .file("a/4", b"", 0o644),
    );
    assert_eq!(names(root.path()), ["a", "one", "one/1", "one/4", "two", "two/3"]);
}

#[test]
fn links_are_followed_a_long_way_but_not_for_ever() {
    let chain = |length: usize| {
        let links = (0..length).fold(Archive::new().dir("l0", 0o755), |archive, index| {
            archive.symlink(&format!("l{index}"), &format!("l{}", index + 1))
        });
        links.file(&format!("l{length}/f"), b"", 0o644)
    };
    let root = tempfile::tempdir().unwrap();
    layer(root.path(), chain(200));
    assert!(root.path().join("l0/f").exists());
    // Few links, but each leads a long way about.
    let about = (1..=200).fold(Archive::new().dir("l0", 0o755), |archive, index| {
        let target = format!("{}l{}", "l0/../".repeat(600), index - 1);
        archive
            .extension(b'K', target.as_bytes())
            .symlink("l0", &format!("l{index}"))
    });
    for archive in [
        about.file("l200/f", b"", 0o644),
        chain(256),
        Archive::new()
            .symlink("b", "a")
            .symlink("a", "b")
            .file("a/f", b"", 0o644),
    ] {
        let root = tempfile::tempdir().unwrap();
        let error = apply_to(&Linux, archive.end(), root.path(), &ApplyOptions::default()).unwrap_err();
        assert!(error.to_string().contains("open or make the folder"), "{error}");
    }
}

#[test]
fn folder_times_are_set_last() {
    let root = tempfile::tempdir().unwrap();
    layer(
        root.path(),
        Archive::new()
            .dir("d", 0o755)
            .dir("d/e", 0o755)
            .file("d/e/f", b"", 0o644)
            .file("d/f", b"", 0o644),
    );
    for name in ["d", "d/e"] {
        assert_eq!(
            fs::metadata(root.path().join(name)).unwrap().mtime(),
            1_600_000_000,
            "{name}"
        );
    }
}

#[test]
fn times_out_of_range_are_the_epoch_and_access_is_not_before_change() {
    let root = tempfile::tempdir().unwrap();
    let times =
        |mtime: &'static str, atime: &'static str| [("mtime", mtime.as_bytes()), ("atime", atime.as_bytes())];
    let tar = Archive::new()
        .pax(&times("-5", "-7"))
        .file("before", b"", 0o644)
        .pax(&times("99999999999", "1"))
        .file("after", b"", 0o644)
        .pax(&times("100.25", "50"))
        .file("changed", b"", 0o644)
        .pax(&times("100", "200.5"))
        .file("read", b"", 0o644);
    layer(root.path(), tar);
    let times = |name: &str| {
        let found = fs::metadata(root.path().join(name)).unwrap();
        (
            found.mtime(),
            found.mtime_nsec(),
            found.atime(),
            found.atime_nsec(),
        )
    };
    assert_eq!(times("before"), (0, 0, 0, 0));
    assert_eq!(times("after"), (0, 0, 0, 0));
    assert_eq!(times("changed"), (100, 250_000_000, 100, 250_000_000));
    assert_eq!(times("read"), (100, 0, 200, 500_000_000));
}

#[test]
fn sparse_files_keep_their_holes() {
    let root = tempfile::tempdir().unwrap();
    let tar = Archive::new()
        .pax(&[
            ("GNU.sparse.map", b"1048576,4"),
            ("GNU.sparse.numblocks", b"1"),
            ("GNU.sparse.size", b"8388608"),
        ])
        .file("sparse", b"data", 0o644);
    layer(root.path(), tar);
    let content = fs::read(root.path().join("sparse")).unwrap();
    assert_eq!(content.len(), 8 << 20);
    assert_eq!(&content[1 << 20..(1 << 20) + 4], b"data");
    assert_eq!(content.iter().filter(|&&byte| byte != 0).count(), 4);
    assert!(
        fs::metadata(root.path().join("sparse")).unwrap().blocks() < 1024,
        "the holes are written out"
    );
}

#[test]
fn missing_folders_are_like_those_of_lower_layers() {
    let lower = tempfile::tempdir().unwrap();
    let lowest = tempfile::tempdir().unwrap();
    layer(
        lower.path(),
        Archive::new().dir("a", 0o1750).file("hidden", b"", 0o644),
    );
    layer(
        lowest.path(),
        Archive::new()
            .dir("a", 0o700)
            .dir("a/b", 0o711)
            .dir("hidden", 0o700)
            .dir("hidden/c", 0o700),
    );
    let gone = lower.path().join("gone");
    let options = ApplyOptions {
        parents: vec![gone, lower.path().to_path_buf(), lowest.path().to_path_buf()],
        ..ApplyOptions::default()
    };
    let root = tempfile::tempdir().unwrap();
    let tar = Archive::new()
        .file("a/b/f", b"", 0o644)
        .file("hidden/c/f", b"", 0o644)
        .file("new/f", b"", 0o644);
    apply_to(&Linux, tar.end(), root.path(), &options).unwrap();
    let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("a"), mode("a/b")), (0o1750, 0o711));
    assert_eq!(
        (mode("hidden"), mode("hidden/c"), mode("new")),
        (0o755, 0o755, 0o755)
    );
}

#[test]
fn whiteouts_can_be_kept_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    layer(
        root.path(),
        Archive::new().dir("d", 0o755).file("d/f", b"", 0o644),
    );
    let options = ApplyOptions {
        whiteouts: WhiteoutFormat::Keep,
        ..ApplyOptions::default()
    };
    let tar = Archive::new()
        .file("d/.wh.f", b"", 0o640)
        .file("d/.wh..wh..opq", b"", 0o644)
        .file(".wh.gone", b"", 0o644);
    let report = apply_to(&Linux, tar.end(), root.path(), &options).unwrap();
    assert_eq!(
        names(root.path()),
        [".wh.gone", "d", "d/.wh..wh..opq", "d/.wh.f", "d/f"]
    );
    assert_eq!(report.counts.whiteouts, 3);
    assert_eq!(
        fs::metadata(root.path().join("d/.wh.f")).unwrap().mode() & 0o7777,
        0o640
    );
    let wrong = apply_to(
        &Linux,
        Archive::new().file(".wh...", b"", 0o644).end(),
        root.path(),
        &options,
    );
    assert!(matches!(wrong, Err(ApplyError::Invalid { .. })), "{wrong:?}");
}

#[test]
fn the_stream_is_read_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    let mut tar = Archive::new().file("f", b"x", 0o644).end();
    tar.extend_from_slice(&[7; 5000]);
    let length = tar.len() as u64;
    let report = apply_to(&Linux, tar, root.path(), &ApplyOptions::default()).unwrap();
    assert_eq!(
        (report.stream_bytes, report.size, report.bytes, report.entries),
        (length, 1, 1, 1)
    );
}

#[test]
fn what_is_no_tar_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let error = apply_to(&Linux, vec![b'?'; 2000], root.path(), &ApplyOptions::default()).unwrap_err();
    assert!(matches!(error, ApplyError::Tar(_)), "{error}");
    assert!(error.to_string().contains("byte 0"), "{error}");
}

#[test]
fn overlay_whiteouts_are_devices_and_marks() {
    if !transom_tests::require_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let options = ApplyOptions {
        whiteouts: WhiteoutFormat::Overlay,
        ..ApplyOptions::default()
    };
    let mut foreign = Header::new(b"d/.wh.gone", b'0', 0o644, 0);
    foreign.number(108, 8, 42).number(116, 8, 43);
    let tar = Archive::new()
        .dir("d", 0o755)
        .raw(&foreign, b"")
        .raw(&foreign, b"")
        .file("kept", b"", 0o644)
        .file(".wh.kept", b"", 0o644)
        .dir("o", 0o755)
        .file("o/.wh..wh..opq", b"", 0o644)
        .file(".wh.replaced", b"", 0o644)
        .file("replaced", b"x", 0o644);
    match apply_to(&Linux, tar.end(), root.path(), &options) {
        Err(ApplyError::Io {
            errno: transom_sys::Errno::PERM | transom_sys::Errno::NOTSUP,
            ..
        }) => {
            return transom_tests::skip("needs a file system and a namespace for overlayfs marks");
        }
        other => other.unwrap(),
    };
    let gone = fs::symlink_metadata(root.path().join("d/gone")).unwrap();
    assert!(gone.file_type().is_char_device());
    assert_eq!((gone.rdev(), gone.uid(), gone.gid()), (0, 42, 43));
    assert!(root.path().join("kept").is_file());
    assert!(root.path().join("replaced").is_file());
    let tree = walk(root.path()).unwrap();
    assert_eq!(
        tree.entries[&b"o".to_vec()].xattrs[&b"trusted.overlay.opaque".to_vec()],
        b"y"
    );
}

#[test]
fn trusted_attributes_are_never_taken_from_an_archive() {
    let root = tempfile::tempdir().unwrap();
    let tar = Archive::new()
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .dir("d", 0o755)
        .end();
    let report = apply_to(&Linux, tar, root.path(), &ApplyOptions::default()).unwrap();
    assert_eq!(report.warnings.total, 1);
    assert!(
        walk(root.path()).unwrap().entries[&b"d".to_vec()]
            .xattrs
            .is_empty()
    );
}
