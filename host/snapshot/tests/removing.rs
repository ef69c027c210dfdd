//! What a removal removes, and what it leaves alone.

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, mpsc};

use rustix::fs::{CWD, IFlags, Mode, OFlags, ioctl_setflags, mkdirat, openat};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use transom_meta::kv::Kv;
use transom_meta::kv::memory::Memory;
use transom_meta::names::Labels;
use transom_meta::snapshots::{SnapshotError, Snapshotter as _};
use transom_snapshot::{Features, Local, OverlayOptions, Place, Step};

use crate::helpers::{Which, World, folders, on, on_both, read, run, write};

#[test]
fn what_is_mounted_in_a_snapshot_is_left_alone() {
    on_both(async |world: World| {
        let local = &world.local;
        local.prepare("k", "", Labels::new()).await.unwrap();
        let files = world.files("k").await;
        fs::create_dir_all(files.join("a/mnt")).unwrap();
        write(&files.join("a/f"), "f");
        let precious = tempfile::tempdir().unwrap();
        write(&precious.path().join("precious"), "precious");
        let mnt = files.join("a/mnt");
        mount_bind(precious.path(), &mnt).unwrap();
        // The snapshot is gone, its files are not yet.
        local.remove("k").await.unwrap();
        assert!(world.list().await.is_empty());
        assert_eq!(read(&precious.path().join("precious")), "precious");
        assert!(!files.join("a/f").exists() && mnt.exists());
        let busy = local.cleanup().await.unwrap_err();
        assert!(
            matches!(&busy, SnapshotError::Io { path, .. } if path.ends_with("a/mnt")),
            "{busy}"
        );
        assert!(busy.to_string().contains("something is mounted there"), "{busy}");
        unmount(&mnt, UnmountFlags::DETACH).unwrap();
        local.cleanup().await.unwrap();
        assert!(world.folders().is_empty());
        assert_eq!(read(&precious.path().join("precious")), "precious");
    });
}

/// Makes a file immutable, or not.
fn immutable(path: &std::path::Path, flags: IFlags) -> rustix::io::Result<()> {
    let file = openat(CWD, path, OFlags::RDONLY, Mode::empty())?;
    ioctl_setflags(file, flags)
}

#[test]
fn what_cannot_be_removed_is_named_and_tried_again() {
    if !transom_tests::require_root() {
        return;
    }
    on(Which::Overlayfs, async |world: World| {
        let local = &world.local;
        local.prepare("k", "", Labels::new()).await.unwrap();
        let files = world.files("k").await;
        for name in ["a", "stays", "z"] {
            write(&files.join(name), name);
        }
        if let Err(error) = immutable(&files.join("stays"), IFlags::IMMUTABLE) {
            return transom_tests::skip(&format!("needs a temporary folder with immutable files: {error}"));
        }
        local.remove("k").await.unwrap();
        assert!(files.join("stays").exists() && !files.join("a").exists() && !files.join("z").exists());
        let error = local.cleanup().await.unwrap_err();
        assert!(
            matches!(&error, SnapshotError::Io { path, .. } if path.ends_with("/fs/stays")),
            "{error}"
        );
        assert!(error.to_string().contains("chattr"), "{error}");
        // Also by the next process.
        let again = world.which.open(&world.kv, &world.root(), None).await.unwrap();
        assert_eq!(again.found().garbage, ["1"]);
        assert!(again.cleanup().await.is_err());
        immutable(&files.join("stays"), IFlags::empty()).unwrap();
        again.cleanup().await.unwrap();
        assert!(world.folders().is_empty());
    });
}

#[test]
fn a_tree_as_deep_as_can_be_is_measured_copied_and_removed() {
    on(Which::Native, async |world: World| {
        const DEEP: u64 = 1500;
        let local = &world.local;
        local.prepare("k", "", Labels::new()).await.unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut folder: OwnedFd = openat(CWD, world.files("k").await, flags, Mode::empty()).unwrap();
        for _ in 0..DEEP {
            mkdirat(&folder, "deeper", Mode::from_raw_mode(0o755)).unwrap();
            folder = openat(&folder, "deeper", flags, Mode::empty()).unwrap();
        }
        assert_eq!(local.usage("k").await.unwrap().inodes, DEEP + 1);
        world.commit("c", "k").await;
        local.prepare("k", "c", Labels::new()).await.unwrap();
        assert_eq!(local.usage("k").await.unwrap().inodes, DEEP + 1);
        local.remove("k").await.unwrap();
        local.remove("c").await.unwrap();
        assert!(world.folders().is_empty());
    });
}

#[test]
fn links_out_of_a_snapshot_are_not_followed() {
    on(Which::Overlayfs, async |world: World| {
        let local = &world.local;
        let outside = tempfile::tempdir().unwrap();
        write(&outside.path().join("f"), "f");
        local.prepare("k", "", Labels::new()).await.unwrap();
        let files = world.files("k").await;
        std::os::unix::fs::symlink(outside.path(), files.join("link")).unwrap();
        assert_eq!(local.usage("k").await.unwrap().inodes, 2);
        local.remove("k").await.unwrap();
        assert!(world.folders().is_empty());
        assert_eq!(read(&outside.path().join("f")), "f");
    });
}

#[test]
fn an_asynchronous_removal_is_answered_before_the_files_are_gone() {
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        let kv: Arc<dyn Kv> = Arc::new(Memory::new());
        let (go_on, wait) = mpsc::sync_channel::<()>(0);
        let (reached, removed) = mpsc::sync_channel::<()>(1);
        let wait = Mutex::new(wait);
        let observer = Arc::new(move |step| {
            // Whoever waits for the removal never comes to let it end.
            if step == Step::FolderRemoved {
                wait.lock().unwrap().recv().unwrap();
                reached.send(()).unwrap();
            }
        });
        let place = Place {
            observer: Some(observer),
            ..Place::new(kv, dir.path())
        };
        let options = OverlayOptions {
            async_remove: true,
            features: Some(Features::default()),
            ..OverlayOptions::default()
        };
        let local = Local::overlayfs(place, options).await.unwrap();
        local.prepare("k", "", Labels::new()).await.unwrap();
        local.remove("k").await.unwrap();
        assert!(local.stat("k").await.is_err());
        go_on.send(()).unwrap();
        removed.recv().unwrap();
        assert!(folders(dir.path()).is_empty());
        local.cleanup().await.unwrap();
    });
}
