//! What the native snapshotter copies.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};
use transom_meta::names::Labels;
use transom_meta::snapshots::Snapshotter as _;
use transom_tests::tree::{Ignore, diff, report, walk};

use crate::helpers::{Which, World, on, write};

/// One of everything.
fn fill(at: &Path) {
    fs::create_dir_all(at.join("usr/bin")).unwrap();
    write(&at.join("usr/bin/su"), "root");
    chown(at.join("usr/bin/su"), Some(5), Some(6)).unwrap();
    fs::set_permissions(at.join("usr/bin/su"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(at.join("usr/bin/su"), at.join("usr/other")).unwrap();
    write(&at.join("empty"), "");
    symlink("usr/bin", at.join("bin")).unwrap();
    fs::hard_link(at.join("bin"), at.join("bin2")).unwrap();
    rustix::fs::chownat(
        CWD,
        at.join("bin"),
        Some(rustix::fs::Uid::from_raw(7)),
        None,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    for (name, kind, device) in [
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("whiteout", FileType::CharacterDevice, makedev(0, 0)),
        ("disk", FileType::BlockDevice, makedev(7, 99)),
        ("pipe", FileType::Fifo, 0),
    ] {
        mknodat(CWD, at.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    }
    for (name, key, value) in [
        ("usr", "trusted.t", "folder"),
        ("empty", "user.u", "file"),
        ("bin", "trusted.t", "link"),
        ("pipe", "trusted.t", "pipe"),
    ] {
        lsetxattr(at.join(name), key, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
    let file = fs::File::create(at.join("holes")).unwrap();
    file.set_len(5 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 3 << 20).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    for name in ["usr/bin", "usr", "empty", "holes", "usr/bin/su"] {
        let times = fs::FileTimes::new().set_modified(old).set_accessed(old);
        fs::File::open(at.join(name)).unwrap().set_times(times).unwrap();
    }
}

#[test]
fn a_copy_has_everything_but_sockets() {
    if !transom_tests::require_root() {
        return;
    }
    on(Which::Native, async |world: World| {
        world.local.prepare("k", "", Labels::new()).await.unwrap();
        let from = world.files("k").await;
        fill(&from);
        let before = walk(&from).unwrap();
        let _socket = UnixListener::bind(from.join("socket")).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1751)).unwrap();
        chown(&from, Some(1), Some(2)).unwrap();
        world.commit("c", "k").await;
        world.local.prepare("k", "c", Labels::new()).await.unwrap();
        let to = world.files("k").await;
        let differences = diff(&before, &walk(&to).unwrap(), &Ignore::default());
        assert!(differences.is_empty(), "{}", report(&differences, 10));
        let of = |path: &Path| {
            use std::os::unix::fs::MetadataExt as _;
            let found = fs::metadata(path).unwrap();
            (
                found.mode(),
                found.uid(),
                found.gid(),
                found.mtime(),
                found.mtime_nsec(),
            )
        };
        assert_eq!(of(&to), of(&from));
        let blocks = |path: &Path| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap());
        assert!(blocks(&to.join("holes")) <= blocks(&from.join("holes")) + 16);
    });
}

#[test]
fn a_copy_stands_for_itself() {
    on(Which::Native, async |world: World| {
        world.local.prepare("k", "", Labels::new()).await.unwrap();
        write(&world.files("k").await.join("f"), "before");
        world.commit("c", "k").await;
        let mut files = Vec::new();
        for key in ["a", "b"] {
            world.local.prepare(key, "c", Labels::new()).await.unwrap();
            files.push(world.files(key).await.join("f"));
        }
        write(&files[0], "after");
        assert_eq!(crate::helpers::read(&files[1]), "before");
    });
}

#[test]
fn a_parent_with_a_mount_in_it_is_not_copied() {
    if !transom_tests::require_root() {
        return;
    }
    on(Which::Native, async |world: World| {
        world.local.prepare("k", "", Labels::new()).await.unwrap();
        let files = world.files("k").await;
        fs::create_dir(files.join("mnt")).unwrap();
        world.commit("c", "k").await;
        let secret = tempfile::tempdir().unwrap();
        write(&secret.path().join("secret"), "secret");
        rustix::mount::mount_bind(secret.path(), files.join("mnt")).unwrap();
        let refused = world.local.prepare("k", "c", Labels::new()).await.unwrap_err();
        assert!(
            refused.to_string().contains("something is mounted there"),
            "{refused}"
        );
        assert_eq!(world.folders().len(), 1);
    });
}
