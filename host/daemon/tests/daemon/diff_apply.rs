//! Layers applied to mounts of every kind.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use tempfile::tempdir;
use transom_api::types::Mount;
use transom_tests::needs::require_root;
use transom_tests::sample::Compression;

use crate::layers::{
    Layer, TAR, TAR_GZIP, TAR_ZSTD, apply, ask, bind, folder, gzip, mount, mounted, mounts_below, overlay,
    request,
};
use crate::rig::{Rig, sha256};

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

#[tokio::test]
async fn a_layer_goes_into_a_bind_mount() {
    if !require_root() {
        return;
    }
    let (rig, target) = (Rig::start().await, tempdir().expect("a folder"));
    fs::write(target.path().join("old"), "old").expect("a file");
    fs::write(target.path().join("gone"), "old").expect("a file");
    let tar = Layer::new()
        .folder("d", 0o750)
        .file("d/f", b"new")
        .file("old", b"new")
        .file(".wh.gone", b"")
        .end();
    let applied = apply(&rig, TAR_GZIP, &gzip(&tar), &[bind(target.path())]).await;
    let applied = applied.expect("it is applied");
    assert_eq!(
        (applied.media_type.as_str(), applied.digest, applied.size),
        (TAR, sha256(&tar), tar.len() as i64)
    );
    assert_eq!(read(&target.path().join("d/f")), "new");
    assert_eq!(read(&target.path().join("old")), "new");
    assert!(!target.path().join("gone").exists());
    let mode = fs::metadata(target.path().join("d")).expect("a folder").mode();
    assert_eq!(mode & 0o7777, 0o750);
    assert_eq!(mounts_below(rig.folder.path()), <[&Path; 0]>::default());
}

/// containerd's TestOverlayApply by its meaning: whiteouts in overlay's form, folders that are not listed like the lower ones.
#[tokio::test]
async fn a_layer_goes_into_the_upper_folder_of_an_overlay() {
    if !require_root() {
        return;
    }
    let (rig, at) = (Rig::start().await, tempdir().expect("a folder"));
    let (upper, lower, lowest) = (
        folder(at.path(), "u"),
        folder(at.path(), "l1"),
        folder(at.path(), "l2"),
    );
    for (path, mode) in [("d", 0o751), ("d/e", 0o711), ("opaque", 0o700)] {
        let path = folder(&lowest, path);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        chown(&path, Some(7), Some(8)).expect("an owner");
    }
    for file in ["d/gone", "d/kept", "opaque/hidden"] {
        fs::write(lowest.join(file), "low").expect("a file");
    }
    let tar = Layer::new()
        .file("d/e/f", b"new")
        .file("d/.wh.gone", b"")
        .folder("opaque", 0o755)
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/seen", b"new")
        .end();
    let mounts = [overlay(Some(&upper), &[&lower, &lowest])];
    let applied = apply(&rig, TAR_GZIP, &gzip(&tar), &mounts).await;
    assert_eq!(applied.expect("it is applied").digest, sha256(&tar));
    let whiteout = fs::symlink_metadata(upper.join("d/gone")).expect("a whiteout");
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    for (path, mode) in [("d", 0o751), ("d/e", 0o711)] {
        let made = fs::metadata(upper.join(path)).expect("a folder");
        assert_eq!(
            (made.mode() & 0o7777, made.uid(), made.gid()),
            (mode, 7, 8),
            "{path}"
        );
    }
    mounted(&mounts, |root| {
        assert_eq!(read(&root.join("d/e/f")), "new");
        assert_eq!(read(&root.join("d/kept")), "low");
        assert!(!root.join("d/gone").exists());
        let seen: Vec<_> = fs::read_dir(root.join("opaque")).expect("a folder").collect();
        assert_eq!(seen.len(), 1, "{seen:?}");
    });
}

/// containerd's TestOverlayApplyNoParents by its meaning; so a bind mount arrives whose parents are put below it later.
#[tokio::test]
async fn an_upper_folder_needs_no_lower_ones() {
    if !require_root() {
        return;
    }
    let (rig, at) = (Rig::start().await, tempdir().expect("a folder"));
    let upper = folder(at.path(), "u");
    let tar = Layer::new().file("d/e/f", b"new").file("d/.wh.gone", b"").end();
    apply(&rig, TAR, &tar, &[overlay(Some(&upper), &[])])
        .await
        .expect("it is applied");
    let made = fs::metadata(upper.join("d/e")).expect("a folder");
    assert_eq!((made.mode() & 0o7777, made.uid()), (0o755, 0));
    let whiteout = fs::symlink_metadata(upper.join("d/gone")).expect("a whiteout");
    assert!(whiteout.file_type().is_char_device());
}

#[tokio::test]
async fn whiteouts_stay_files_in_a_branch_of_aufs() {
    if !require_root() {
        return;
    }
    let (rig, at) = (Rig::start().await, tempdir().expect("a folder"));
    let (upper, lower) = (folder(at.path(), "u"), folder(at.path(), "l"));
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(folder(&lower, "d"), mode).expect("a mode");
    let tar = Layer::new()
        .file("d/.wh.gone", b"")
        .file(".wh..wh..opq", b"")
        .end();
    let branches = format!("br:{}=rw:{}=ro+wh", upper.display(), lower.display());
    let aufs = mount("aufs", Path::new("none"), &[branches]);
    apply(&rig, TAR, &tar, &[aufs]).await.expect("it is applied");
    assert!(upper.join("d/.wh.gone").is_file() && upper.join(".wh..wh..opq").is_file());
    assert_eq!(
        fs::metadata(upper.join("d")).expect("a folder").mode() & 0o7777,
        0o711
    );
}

#[tokio::test]
async fn several_mounts_are_mounted_for_a_while() {
    if !require_root() {
        return;
    }
    let (rig, at) = (Rig::start().await, tempdir().expect("a folder"));
    let (top, sub, lower) = (
        folder(at.path(), "top"),
        folder(at.path(), "sub"),
        folder(at.path(), "l"),
    );
    fs::write(lower.join("gone"), "low").expect("a file");
    folder(&lower, "sub");
    let below = Mount {
        target: "/sub".to_owned(),
        ..bind(&sub)
    };
    let mounts = [overlay(Some(&top), &[&lower]), below];
    let tar = Layer::new()
        .file("f", b"1")
        .file("sub/g", b"2")
        .file(".wh.gone", b"")
        .end();
    apply(&rig, TAR, &tar, &mounts).await.expect("it is applied");
    assert_eq!(
        (read(&top.join("f")), read(&sub.join("g"))),
        ("1".into(), "2".into())
    );
    let whiteout = fs::symlink_metadata(top.join("gone")).expect("overlayfs has made a whiteout");
    assert!(whiteout.file_type().is_char_device());
    assert_eq!(mounts_below(rig.folder.path()), <[&Path; 0]>::default());
    let left: Vec<_> = fs::read_dir(rig.folder.path().join("root/tmpmounts"))
        .expect("a folder")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What is mounted below the source is not to be seen through a mount that does not take it along.
#[tokio::test]
async fn a_bind_mount_without_what_is_below_it_is_mounted() {
    if !require_root() {
        return;
    }
    let (rig, at) = (Rig::start().await, tempdir().expect("a folder"));
    let (source, other) = (folder(at.path(), "s"), folder(at.path(), "o"));
    let over = Mount {
        target: "sub".to_owned(),
        ..bind(&other)
    };
    folder(&source, "sub");
    // `over` is mounted on a folder of the source itself.
    transom_sys::mount::mount_all(&[crate::layers::system(&over)], &source).expect("it mounts");
    let tar = Layer::new().file("sub/f", b"x").end();
    let mount = mount("bind", &source, &["rw".to_owned(), "bind".to_owned()]);
    let applied = apply(&rig, TAR, &tar, &[mount]).await;
    let flags = transom_sys::mount::UnmountFlags::empty();
    transom_sys::mount::unmount_all(&source.join("sub"), flags).expect("it unmounts");
    applied.expect("it is applied");
    assert!(source.join("sub/f").is_file() && !other.join("f").exists());
}

#[tokio::test]
async fn every_compression_gives_the_same_tar() {
    if !require_root() {
        return;
    }
    let rig = Rig::start().await;
    let tar = Layer::new().file("f", &[7; 100_000]).end();
    let docker = "application/vnd.docker.image.rootfs.diff.tar";
    for (media_type, form) in [
        (TAR, Compression::None),
        (TAR_GZIP, Compression::GzipMembers),
        (TAR_ZSTD, Compression::Zstd),
        (docker, Compression::Zstd),
        (
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            Compression::Gzip,
        ),
        (
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
            Compression::Zstd,
        ),
        // What is declared is not what counts.
        (TAR_ZSTD, Compression::Gzip),
    ] {
        let target = tempdir().expect("a folder");
        let blob = form.compress(&tar).expect("it compresses");
        let applied = apply(&rig, media_type, &blob, &[bind(target.path())]).await;
        assert_eq!(
            applied.expect("it is applied").digest,
            sha256(&tar),
            "{media_type}"
        );
        assert_eq!(fs::read(target.path().join("f")).expect("a file"), [7; 100_000]);
    }
}

#[tokio::test]
async fn a_layer_can_be_brought_to_the_disk_first() {
    if !require_root() {
        return;
    }
    let rig = Rig::with(|config| config.diff.sync_fs = true).await;
    let at = tempdir().expect("a folder");
    let (upper, lower) = (folder(at.path(), "u"), folder(at.path(), "l"));
    let blob = Layer::new().file("f", b"x").end();
    for mounts in [
        vec![bind(&upper)],
        vec![overlay(Some(&upper), &[&lower])],
        vec![bind(&lower), overlay(Some(&upper), &[&lower])],
    ] {
        apply(&rig, TAR, &blob, &mounts).await.expect("it is applied");
        let mut again = request(TAR, &blob, &mounts);
        again.sync_fs = true;
        again.diff.as_mut().expect("a descriptor").size = 0;
        ask(&rig, again).await.expect("nor must the size be said");
    }
    assert_eq!(mounts_below(rig.folder.path()), <[&Path; 0]>::default());
}

#[tokio::test]
async fn the_folder_may_have_hundreds_below_it() {
    if !require_root() {
        return;
    }
    let (rig, at) = (Rig::start().await, tempdir().expect("a folder"));
    let upper = folder(at.path(), "u");
    let lowers: Vec<_> = (0..500)
        .map(|number| folder(at.path(), &number.to_string()))
        .collect();
    let last = folder(&lowers[499], "d");
    fs::set_permissions(&last, fs::Permissions::from_mode(0o711)).expect("a mode");
    fs::remove_dir(&lowers[7]).expect("a parent that vanishes");
    let lowers: Vec<&Path> = lowers.iter().map(std::path::PathBuf::as_path).collect();
    let tar = Layer::new().file("d/f", b"x").end();
    apply(&rig, TAR, &tar, &[overlay(Some(&upper), &lowers)])
        .await
        .expect("it is applied");
    assert_eq!(
        fs::metadata(upper.join("d")).expect("a folder").mode() & 0o7777,
        0o711
    );
}
