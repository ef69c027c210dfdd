//! Many calls at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;
use transom_meta::names::Labels;
use transom_meta::snapshots::{SnapshotError, Snapshotter as _};
use transom_snapshot::{Observer, Step};

use crate::helpers::{Which, World, folders, list, run, write};

#[test]
fn of_64_who_prepare_one_key_one_wins() {
    run(async || {
        for which in Which::BOTH {
            let world = World::new(which).await;
            let mut tasks = JoinSet::new();
            for _ in 0..64 {
                let local = world.local.clone();
                tasks.spawn(async move { local.prepare("k", "", Labels::new()).await });
            }
            let results = tasks.join_all().await;
            let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), 1);
            for error in lost {
                assert!(
                    matches!(error, Err(SnapshotError::AlreadyExists { .. })),
                    "{error:?}"
                );
            }
            assert_eq!(world.folders().len(), 1);
            let mounts = won.into_iter().next().unwrap().unwrap();
            assert_eq!(world.local.mounts("k").await.unwrap(), mounts);
            assert!(std::path::Path::new(&mounts[0].source).is_dir());
        }
    });
}

#[test]
fn of_those_who_commit_to_one_name_one_wins() {
    run(async || {
        let world = World::new(Which::Overlayfs).await;
        let mut tasks = JoinSet::new();
        for number in 0..16 {
            let local = world.local.clone();
            tasks.spawn(async move {
                let key = format!("k{number}");
                local.prepare(&key, "", Labels::new()).await.unwrap();
                local.commit("name", &key, "", Labels::new()).await
            });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert_eq!(world.list().await.len(), 16);
        assert_eq!(world.folders().len(), 16);
    });
}

#[test]
fn a_parent_is_removed_or_stood_upon_never_both() {
    run(async || {
        for which in Which::BOTH {
            let world = World::new(which).await;
            for round in 0..40 {
                let local = &world.local;
                local.prepare("p-active", "", Labels::new()).await.unwrap();
                write(&world.files("p-active").await.join("f"), "f");
                world.commit("p", "p-active").await;
                let (child, other) = (local.clone(), local.clone());
                let child = tokio::spawn(async move { child.prepare("c", "p", Labels::new()).await });
                let removed = tokio::spawn(async move { other.remove("p").await });
                match (child.await.unwrap(), removed.await.unwrap()) {
                    (Ok(_), Err(SnapshotError::State { .. })) => {
                        local.remove("c").await.unwrap();
                        local.remove("p").await.unwrap();
                    }
                    (Err(SnapshotError::ParentNotFound { .. }), Ok(())) => {}
                    other => panic!("{which:?}, round {round}: {other:?}"),
                }
                assert!(world.folders().is_empty() && world.list().await.is_empty());
            }
        }
    });
}

/// A parent vanishes, and another one has its name, between the folder of a child and its record.
#[test]
fn a_child_is_made_again_if_its_parent_is_another_one_meanwhile() {
    run(async || {
        for which in Which::BOTH {
            let world = World::new(which).await;
            let root = world.root();
            world.local.prepare("k", "", Labels::new()).await.unwrap();
            write(&world.files("k").await.join("old"), "old");
            world.commit("p", "k").await;
            let (reached, times) = (
                Arc::new(tokio::sync::Notify::new()),
                Arc::new(AtomicUsize::new(0)),
            );
            let (go_on, wait) = std::sync::mpsc::sync_channel::<()>(0);
            let wait = std::sync::Mutex::new(wait);
            let observer: Observer = {
                let (reached, times) = (Arc::clone(&reached), Arc::clone(&times));
                Arc::new(move |step| {
                    if step == Step::FolderNamed && times.fetch_add(1, Ordering::SeqCst) == 0 {
                        reached.notify_one();
                        wait.lock().unwrap().recv().unwrap();
                    }
                })
            };
            let watched = which.open(&world.kv, &root, Some(observer)).await.unwrap();
            let child = tokio::spawn(async move { watched.prepare("c", "p", Labels::new()).await });
            reached.notified().await;
            let local = &world.local;
            local.remove("p").await.unwrap();
            // The other front door gives out ids of its own block.
            local.prepare("k", "", Labels::new()).await.unwrap();
            write(&world.files("k").await.join("new"), "new");
            world.commit("p", "k").await;
            go_on.send(()).unwrap();
            let mounts = child.await.unwrap().unwrap();
            assert_eq!(local.mounts("c").await.unwrap(), mounts);
            match which {
                Which::Overlayfs => {
                    let id = folder_id(&world, "p").await;
                    let lower = format!("lowerdir={}/snapshots/{id}/fs", root.display());
                    assert!(mounts[0].options.contains(&lower), "{mounts:?}");
                }
                Which::Native => {
                    let files = world.files("c").await;
                    assert!(files.join("new").exists() && !files.join("old").exists());
                }
            }
            assert_eq!(folders(&root).len(), list(local).await.len());
        }
    });
}

/// The id of a committed snapshot, by a view of it.
async fn folder_id(world: &World, name: &str) -> String {
    let view = world.local.view("id", name, Labels::new()).await.unwrap();
    world.local.remove("id").await.unwrap();
    let path = std::path::Path::new(&view[0].source);
    let inside = path.strip_prefix(world.root().join("snapshots")).unwrap();
    let first = inside.components().next().unwrap();
    first.as_os_str().to_str().unwrap().to_owned()
}
