//! What the calls check, and what they record.

use std::os::unix::fs::symlink;

use transom_meta::error::Class;
use transom_meta::names::Labels;
use transom_meta::snapshots::{Kind, SnapshotError, Snapshotter as _, Usage};

use crate::helpers::{Mounted, Which, World, labels, on, on_both, read, run, write};

#[test]
fn errors_have_containerds_texts() {
    on(Which::Overlayfs, async |world: World| {
        let local = &world.local;
        let none = Labels::new;
        let said = |error: SnapshotError| (error.to_string(), error.class());
        let text = |text: &str, class| (text.to_owned(), class);
        let missing = local.prepare("k", "nop", none()).await.unwrap_err();
        assert_eq!(
            said(missing),
            text("parent snapshot nop does not exist", Class::NotFound)
        );
        local.prepare("k1", "", none()).await.unwrap();
        let exists = local.prepare("k1", "", none()).await.unwrap_err();
        assert_eq!(said(exists), text("snapshot \"k1\"", Class::AlreadyExists));
        let parent = local.view("v", "k1", none()).await.unwrap_err();
        assert_eq!(
            said(parent),
            text("parent \"k1\" is not committed snapshot", Class::InvalidArgument)
        );
        let gone = local.stat("x").await.unwrap_err();
        assert_eq!(said(gone), text("snapshot \"x\" does not exist", Class::NotFound));
        local.commit("c", "k1", "", none()).await.unwrap();
        local.prepare("k2", "c", none()).await.unwrap();
        let child = local.remove("c").await.unwrap_err();
        assert_eq!(
            said(child),
            text("cannot remove snapshot with child", Class::FailedPrecondition)
        );
        let taken = local.commit("c", "k2", "", none()).await.unwrap_err();
        assert_eq!(said(taken), text("snapshot \"c\"", Class::AlreadyExists));
        let absent = local.commit("d", "k9", "", none()).await.unwrap_err();
        assert_eq!(absent.class(), Class::NotFound);
    });
}

#[test]
fn what_is_not_valid_changes_nothing() {
    on(Which::Overlayfs, async |world: World| {
        let local = &world.local;
        let long = "k".repeat(40_000);
        let refused = local.prepare(&long, "", Labels::new()).await.unwrap_err();
        assert_eq!(refused.class(), Class::InvalidArgument);
        let refused = local.prepare("", "", Labels::new()).await.unwrap_err();
        assert_eq!(refused.class(), Class::InvalidArgument);
        let label = labels(&[("l", "v".repeat(5000).as_str())]);
        let refused = local.prepare("k", "", label.clone()).await.unwrap_err();
        assert_eq!(refused.class(), Class::InvalidArgument);
        local.prepare("k", "", Labels::new()).await.unwrap();
        let refused = local.commit("c", "k", "", label.clone()).await.unwrap_err();
        assert_eq!(refused.class(), Class::InvalidArgument);
        let refused = local.update("k", label, false).await.unwrap_err();
        assert_eq!(refused.class(), Class::InvalidArgument);
        assert_eq!(world.folders(), ["1"]);
        assert_eq!(local.stat("k").await.unwrap().kind, Kind::Active);
    });
}

#[test]
fn keys_and_parents_with_slashes_do_not_meet() {
    on(Which::Overlayfs, async |world: World| {
        let local = &world.local;
        for name in ["a", "a/b", "a/b/c"] {
            local.prepare("k", "", Labels::new()).await.unwrap();
            local.commit(name, "k", "", Labels::new()).await.unwrap();
        }
        local.prepare("b/x", "a", Labels::new()).await.unwrap();
        local.remove("a/b").await.unwrap();
        local.prepare("x", "a/b/c", Labels::new()).await.unwrap();
        assert!(local.remove("a").await.is_err());
        assert!(local.remove("a/b/c").await.is_err());
        local.remove("b/x").await.unwrap();
        local.remove("a").await.unwrap();
    });
}

#[test]
fn a_snapshot_made_on_nothing_is_put_onto_a_parent() {
    if !transom_tests::require_root() {
        return;
    }
    on(Which::Overlayfs, async |world: World| {
        let local = &world.local;
        world.layer("1", "", |at| write(&at.join("f"), "one")).await;
        // Prepared at the same time, committed one after the other.
        for (key, text) in [("k2", "two"), ("k3", "three")] {
            let mounts = local.prepare(key, "", Labels::new()).await.unwrap();
            write(&Mounted::new(&mounts).path().join(text), text);
        }
        let early = local.commit("3", "k3", "2", Labels::new()).await.unwrap_err();
        assert!(matches!(early, SnapshotError::ParentNotFound { .. }), "{early}");
        let active = local.commit("3", "k3", "k2", Labels::new()).await.unwrap_err();
        assert!(
            matches!(active, SnapshotError::ParentNotCommitted { .. }),
            "{active}"
        );
        local.commit("2", "k2", "1", Labels::new()).await.unwrap();
        local.commit("3", "k3", "2", Labels::new()).await.unwrap();
        assert_eq!(local.stat("3").await.unwrap().parent, "2");
        world
            .look("3", |at| {
                for (name, text) in [("f", "one"), ("two", "two"), ("three", "three")] {
                    assert_eq!(read(&at.join(name)), text);
                }
            })
            .await;
        assert!(local.remove("2").await.is_err());
        local.prepare("k4", "3", Labels::new()).await.unwrap();
        let moved = local.commit("4", "k4", "1", Labels::new()).await.unwrap_err();
        assert_eq!(moved.class(), Class::InvalidArgument);
        assert!(
            moved
                .to_string()
                .starts_with("cannot change parent of active snapshot")
        );
        local.commit("4", "k4", "3", Labels::new()).await.unwrap();
    });
}

#[test]
fn native_has_its_parent_from_the_start() {
    on(Which::Native, async |world: World| {
        let local = &world.local;
        for name in ["1", "2"] {
            local.prepare("k", "", Labels::new()).await.unwrap();
            local.commit(name, "k", "", Labels::new()).await.unwrap();
        }
        local.prepare("k", "", Labels::new()).await.unwrap();
        let refused = local.commit("3", "k", "2", Labels::new()).await.unwrap_err();
        assert_eq!(refused.class(), Class::InvalidArgument);
        local.prepare("k2", "2", Labels::new()).await.unwrap();
        local.commit("3", "k2", "2", Labels::new()).await.unwrap();
    });
}

#[test]
fn usage_is_that_of_the_files_of_the_snapshot_itself() {
    on_both(async |world: World| {
        let local = &world.local;
        world
            .layer("1", "", |at| write(&at.join("below"), &"x".repeat(1 << 20)))
            .await;
        let below = local.usage("1").await.unwrap();
        assert!(below.size >= 1 << 20 && below.inodes == 2, "{below:?}");
        let mounts = local.prepare("k", "1", Labels::new()).await.unwrap();
        let empty = local.usage("k").await.unwrap();
        let own = crate::helpers::own_files(&mounts);
        write(&own.join("one"), &"y".repeat(10_000));
        std::fs::hard_link(own.join("one"), own.join("two")).unwrap();
        symlink("nowhere", own.join("link")).unwrap();
        let full = local.usage("k").await.unwrap();
        assert_eq!(full.inodes, empty.inodes + 2);
        assert!(full.size >= empty.size + 10_000 && full.size < empty.size + 40_000);
        if world.which == Which::Overlayfs {
            assert_eq!(empty.inodes, 1);
        }
        world.commit("2", "k").await;
        assert_eq!(local.usage("2").await.unwrap(), full);
        local.view("v", "2", Labels::new()).await.unwrap();
        assert_eq!(local.usage("v").await.unwrap(), Usage::default());
        assert!(matches!(
            local.usage("x").await,
            Err(SnapshotError::NotFound { .. })
        ));
    });
}

#[test]
fn usage_does_not_look_below_and_not_into_mounts() {
    if !transom_tests::require_root() {
        return;
    }
    on(Which::Overlayfs, async |world: World| {
        let local = &world.local;
        world.layer("1", "", |at| write(&at.join("f"), "f")).await;
        let mounts = local.prepare("k", "1", Labels::new()).await.unwrap();
        let own = crate::helpers::own_files(&mounts);
        std::fs::create_dir(own.join("mnt")).unwrap();
        let before = local.usage("k").await.unwrap();
        // The lower folder cannot be read at all: whoever looks at it fails.
        let lower = world.root().join("snapshots/1");
        std::fs::rename(&lower, world.root().join("elsewhere")).unwrap();
        let big = tempfile::tempdir().unwrap();
        write(&big.path().join("big"), &"x".repeat(1 << 20));
        rustix::mount::mount_bind(big.path(), own.join("mnt")).unwrap();
        let during = local.usage("k").await.unwrap();
        rustix::mount::unmount(own.join("mnt"), rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(during.inodes, before.inodes - 1);
        assert_eq!(local.usage("k").await.unwrap(), before);
    });
}

#[test]
fn a_caller_that_does_not_wait_changes_nothing_by_halves() {
    run(async || {
        for which in Which::BOTH {
            let world = World::new(which).await;
            // Polled once, then given up: the call goes on by itself.
            let mut call = world.local.prepare("k", "", Labels::new());
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(call.as_mut().poll(context).is_ready())
            });
            polled.await;
            drop(call);
            // Whoever comes first, there is one snapshot with one folder.
            match world.local.prepare("k", "", Labels::new()).await {
                Ok(_) | Err(SnapshotError::AlreadyExists { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            while world.folders() != [folder_of(&world, "k").await] {
                tokio::task::yield_now().await;
            }
        }
    });
}

async fn folder_of(world: &World, key: &str) -> String {
    let files = world.files(key).await;
    let inside = files.strip_prefix(world.root().join("snapshots")).unwrap();
    inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap()
        .to_owned()
}
