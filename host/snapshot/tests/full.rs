//! A disk that is full.

use std::path::Path;

use rustix::mount::{MountFlags, mount};
use transom_meta::error::Class;
use transom_meta::names::Labels;
use transom_meta::snapshots::{SnapshotError, Snapshotter as _};

use crate::helpers::{Which, folders, list, run};

/// A small file system of its own in this test's mount namespace.
fn tmpfs(at: &Path, options: &std::ffi::CStr) {
    mount("tmpfs", at, "tmpfs", MountFlags::empty(), options).unwrap();
}

#[test]
fn a_copy_that_does_not_fit_leaves_nothing() {
    if !transom_tests::require_root() {
        return;
    }
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        tmpfs(dir.path(), c"size=1m");
        let kv: std::sync::Arc<dyn transom_meta::kv::Kv> =
            std::sync::Arc::new(transom_meta::kv::memory::Memory::new());
        let local = Which::Native.open(&kv, dir.path(), None).await.unwrap();
        let mounts = local.prepare("k", "", Labels::new()).await.unwrap();
        let file = Path::new(&mounts[0].source).join("f");
        std::fs::write(file, vec![1; 700 << 10]).unwrap();
        local.commit("c", "k", "", Labels::new()).await.unwrap();
        let full = local.prepare("k", "c", Labels::new()).await.unwrap_err();
        assert!(matches!(full, SnapshotError::NoSpace { .. }), "{full}");
        assert_eq!(full.class(), Class::ResourceExhausted);
        assert_eq!(folders(dir.path()), ["1"]);
        assert_eq!(list(&local).await.len(), 1);
        // What needs no space works.
        local.prepare("k", "", Labels::new()).await.unwrap();
        local.remove("k").await.unwrap();
        local.remove("c").await.unwrap();
        assert!(folders(dir.path()).is_empty());
    });
}

#[test]
fn a_folder_that_cannot_be_made_leaves_nothing() {
    if !transom_tests::require_root() {
        return;
    }
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        tmpfs(dir.path(), c"size=1m,nr_inodes=20");
        let kv: std::sync::Arc<dyn transom_meta::kv::Kv> =
            std::sync::Arc::new(transom_meta::kv::memory::Memory::new());
        let local = Which::Overlayfs.open(&kv, dir.path(), None).await.unwrap();
        let mut made = 0;
        let full = loop {
            match local.prepare(&format!("k{made}"), "", Labels::new()).await {
                Ok(_) => made += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, SnapshotError::NoSpace { .. }), "{full}");
        assert!(made >= 3, "{made}");
        assert_eq!(folders(dir.path()).len(), made);
        assert_eq!(list(&local).await.len(), made);
        local.remove("k0").await.unwrap();
        local.prepare("again", "", Labels::new()).await.unwrap();
    });
}
