//! What a snapshotter finds when it is opened.

use std::fs;
use std::sync::Arc;

use transom_meta::kv::Kv;
use transom_meta::kv::memory::Memory;
use transom_meta::names::Labels;
use transom_meta::snapshots::{SnapshotError, Snapshotter as _};
use transom_meta::{fsck, migration, record};
use transom_snapshot::Found;

use crate::helpers::{Which, World, on, run, write};

async fn again(world: &World) -> Result<transom_snapshot::Local, SnapshotError> {
    world.which.open(&world.kv, &world.root(), None).await
}

#[test]
fn what_has_no_record_is_removed_and_nothing_else() {
    run(async || {
        for which in Which::BOTH {
            let world = World::new(which).await;
            world.local.prepare("k", "", Labels::new()).await.unwrap();
            write(&world.files("k").await.join("f"), "f");
            let snapshots = world.root().join("snapshots");
            for name in ["7/fs/deep", "new-9/fs", "notes", "007"] {
                fs::create_dir_all(snapshots.join(name)).unwrap();
            }
            write(&snapshots.join("new-8"), "a file");
            fs::create_dir_all(world.root().join("probe-1/upper")).unwrap();
            let local = again(&world).await.unwrap();
            let mut found = local.found().clone();
            found.garbage.sort();
            found.foreign.sort();
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let expected = Found {
                snapshots: 1,
                garbage: owned(&["7", "new-8", "new-9"]),
                foreign: owned(&["007", "notes"]),
                ..Found::default()
            };
            assert_eq!(found, expected);
            local.cleanup().await.unwrap();
            assert_eq!(world.folders(), ["007", "1", "notes"]);
            assert!(world.files("k").await.join("f").exists());
            assert!(!world.root().join("probe-1").exists());
        }
    });
}

#[test]
fn folders_of_other_metadata_are_refused() {
    run(async || {
        for which in Which::BOTH {
            let world = World::new(which).await;
            world.local.prepare("k", "", Labels::new()).await.unwrap();
            let empty: Arc<dyn Kv> = Arc::new(Memory::new());
            let refused = which.open(&empty, &world.root(), None).await.unwrap_err();
            assert!(matches!(refused, SnapshotError::Unusable { .. }), "{refused}");
            // Of the same metadata, but further on.
            fs::create_dir(world.root().join("snapshots/5000")).unwrap();
            let refused = again(&world).await.unwrap_err();
            assert!(matches!(refused, SnapshotError::Unusable { .. }), "{refused}");
            fs::remove_dir(world.root().join("snapshots/5000")).unwrap();
            write(&world.root().join("metadata.db"), "containerd's");
            let refused = again(&world).await.unwrap_err();
            assert!(refused.to_string().contains("containerd"), "{refused}");
            fs::remove_file(world.root().join("metadata.db")).unwrap();
            again(&world).await.unwrap();
            assert_eq!(world.folders(), ["1"]);
        }
    });
}

/// A power cut may take the folder of a snapshot that was just prepared: nothing of it is synced.
#[test]
fn an_active_snapshot_without_a_folder_gets_an_empty_one() {
    if !transom_tests::require_root() {
        return;
    }
    on(Which::Overlayfs, async |world: World| {
        let local = &world.local;
        world
            .layer("base", "", |at| {
                std::os::unix::fs::chown(at, Some(3), Some(4)).unwrap();
            })
            .await;
        local.prepare("k", "base", Labels::new()).await.unwrap();
        local.view("v", "base", Labels::new()).await.unwrap();
        for id in ["2", "3"] {
            fs::remove_dir_all(world.root().join("snapshots").join(id)).unwrap();
        }
        let local = again(&world).await.unwrap();
        assert_eq!(local.found().remade, ["k", "v"]);
        let mounts = local.mounts("k").await.unwrap();
        let mounted = crate::helpers::Mounted::new(&mounts);
        write(&mounted.path().join("new"), "new");
        let found = fs::metadata(mounted.path()).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&found), 3);
    });
}

#[test]
fn a_committed_snapshot_without_a_folder_is_told_and_kept() {
    run(async || {
        for which in Which::BOTH {
            let world = World::new(which).await;
            world.local.prepare("k", "", Labels::new()).await.unwrap();
            world.commit("c", "k").await;
            fs::remove_dir_all(world.root().join("snapshots/1")).unwrap();
            let local = again(&world).await.unwrap();
            assert_eq!(local.found().missing, ["c"]);
            assert!(world.folders().is_empty());
            local.stat("c").await.unwrap();
            let refused = local.prepare("k", "c", Labels::new()).await.unwrap_err();
            assert!(matches!(refused, SnapshotError::Io { .. }), "{refused}");
            assert!(world.folders().is_empty());
            local.remove("c").await.unwrap();
        }
    });
}

#[test]
fn a_new_store_of_metadata_has_its_version_then() {
    run(async || {
        let world = World::new(Which::Native).await;
        let version = world.kv.get(b"v").await.unwrap().unwrap();
        assert_eq!(version[0], record::VERSION);
        assert_eq!(migration::run(&*world.kv, migration::STEPS).await.unwrap(), 0);
    });
}

#[test]
fn two_snapshotters_share_one_store_of_metadata() {
    run(async || {
        let world = World::new(Which::Native).await;
        let root = world.dir.path().join("other");
        let other = Which::Overlayfs.open(&world.kv, &root, None).await.unwrap();
        world.local.prepare("k", "", Labels::new()).await.unwrap();
        other.view("k", "", Labels::new()).await.unwrap();
        other.remove("k").await.unwrap();
        world.local.stat("k").await.unwrap();
    });
}

#[test]
fn a_check_of_the_metadata_leaves_the_records_alone() {
    run(async || {
        let world = World::new(Which::Native).await;
        world.local.prepare("k", "", Labels::new()).await.unwrap();
        world.commit("c", "k").await;
        world.local.view("v", "c", Labels::new()).await.unwrap();
        let blobs = transom_content::Store::open(world.dir.path().join("content")).unwrap();
        let options = fsck::Options {
            repair: true,
            ..fsck::Options::default()
        };
        let report = fsck::check(&world.kv, &blobs, &options).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        // Two snapshots, a child, a counter, and the version of the store.
        assert_eq!(report.counts.records, 5);
        assert_eq!(again(&world).await.unwrap().found().snapshots, 2);
    });
}
