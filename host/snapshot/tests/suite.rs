//! The cases of containerd's `SnapshotterSuite`, with both snapshotters.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use transom_meta::names::Labels;
use transom_meta::snapshots::{Kind, SnapshotError, Snapshotter as _};
use transom_sys::Errno;

use crate::helpers::{Mounted, World, labels, on_both, read, write};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn names(path: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(path).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn basic() {
    on_both(async |world: World| {
        let local = &world.local;
        let mounts = local.prepare("preparing", "", Labels::new()).await.unwrap();
        {
            let mounted = Mounted::new(&mounts);
            write(&mounted.path().join("foo"), "foo\n");
            fs::create_dir_all(mounted.path().join("a/b/c")).unwrap();
        }
        world.commit("committed", "preparing").await;
        let info = local.stat("committed").await.unwrap();
        assert_eq!((info.parent.as_str(), info.kind), ("", Kind::Committed));
        assert!(matches!(
            local.stat("preparing").await,
            Err(SnapshotError::NotFound { .. })
        ));
        world
            .layer("next", "committed", |at| {
                assert_eq!(read(&at.join("foo")), "foo\n");
                write(&at.join("bar"), "bar\n");
                fs::remove_dir_all(at.join("a/b")).unwrap();
            })
            .await;
        let info = local.stat("next").await.unwrap();
        assert_eq!((info.parent.as_str(), info.kind), ("committed", Kind::Committed));
        world
            .look("next", |at| {
                assert_eq!(names(at), set(["foo", "bar", "a"]));
                assert!(names(&at.join("a")).is_empty());
            })
            .await;
        world
            .look("committed", |at| assert!(at.join("a/b/c").is_dir()))
            .await;
    });
}

#[test]
fn stat_active() {
    on_both(async |world: World| {
        world.layer("base", "", |at| write(&at.join("foo"), "foo")).await;
        let local = &world.local;
        local.prepare("active", "base", Labels::new()).await.unwrap();
        let info = local.stat("active").await.unwrap();
        assert_eq!(
            (info.name.as_str(), info.parent.as_str(), info.kind),
            ("active", "base", Kind::Active)
        );
    });
}

#[test]
fn stat_committed() {
    on_both(async |world: World| {
        world.layer("base", "", |at| write(&at.join("foo"), "foo")).await;
        world
            .layer("top", "base", |at| write(&at.join("bar"), "bar"))
            .await;
        let info = world.local.stat("top").await.unwrap();
        assert_eq!(
            (info.name.as_str(), info.parent.as_str(), info.kind),
            ("top", "base", Kind::Committed)
        );
    });
}

#[test]
fn transitivity() {
    on_both(async |world: World| {
        world.layer("a", "", |at| write(&at.join("foo"), "foo")).await;
        world.layer("b", "a", |at| write(&at.join("bar"), "bar")).await;
        world.local.prepare("c", "b", Labels::new()).await.unwrap();
        let parent = async |key: &str| world.local.stat(key).await.unwrap().parent;
        assert_eq!(parent("c").await, "b");
        assert_eq!(parent("b").await, "a");
        assert_eq!(parent("a").await, "");
    });
}

#[test]
fn prepare_and_view_that_must_fail() {
    on_both(async |world: World| {
        world.layer("base", "", |at| write(&at.join("foo"), "foo")).await;
        let local = &world.local;
        let exists = |error| matches!(error, Err(SnapshotError::AlreadyExists { .. }));
        let before = world.folders();
        assert!(matches!(
            local.prepare("k", "nothing", Labels::new()).await,
            Err(SnapshotError::ParentNotFound { parent }) if parent == "nothing"
        ));
        local.prepare("k", "base", Labels::new()).await.unwrap();
        assert!(exists(local.prepare("k", "base", Labels::new()).await));
        assert!(exists(local.view("k", "base", Labels::new()).await));
        assert!(exists(local.prepare("base", "", Labels::new()).await));
        local.view("v", "base", Labels::new()).await.unwrap();
        assert!(exists(local.view("v", "base", Labels::new()).await));
        for parent in ["k", "v"] {
            assert!(matches!(
                local.prepare("n", parent, Labels::new()).await,
                Err(SnapshotError::ParentNotCommitted { .. })
            ));
            assert!(matches!(
                local.view("n", parent, Labels::new()).await,
                Err(SnapshotError::ParentNotCommitted { .. })
            ));
        }
        assert!(matches!(
            local.commit("c", "v", "", Labels::new()).await,
            Err(SnapshotError::State { what }) if what == "snapshot \"v\" is not active"
        ));
        local.remove("k").await.unwrap();
        local.remove("v").await.unwrap();
        assert_eq!(world.folders(), before);
    });
}

#[test]
fn update() {
    on_both(async |world: World| {
        let local = &world.local;
        let first = labels(&[("a", "1"), ("b", "2"), ("empty", "")]);
        local.prepare("k", "", first).await.unwrap();
        let before = local.stat("k").await.unwrap();
        assert_eq!(before.labels, labels(&[("a", "1"), ("b", "2")]));
        let change = labels(&[("a", "3"), ("b", ""), ("c", "4")]);
        let updated = local.update("k", change, false).await.unwrap();
        assert_eq!(updated.labels, labels(&[("a", "3"), ("c", "4")]));
        assert_eq!(updated.created, before.created);
        assert!(updated.updated > before.updated);
        let replaced = local.update("k", labels(&[("d", "5")]), true).await.unwrap();
        assert_eq!(replaced.labels, labels(&[("d", "5")]));
        assert_eq!(local.stat("k").await.unwrap(), replaced);
        let committed = local.commit("c", "k", "", labels(&[("e", "6")])).await;
        committed.unwrap();
        let info = local.stat("c").await.unwrap();
        assert_eq!(info.labels, labels(&[("e", "6")]));
        assert!(info.created > before.created && info.created == info.updated);
        assert!(matches!(
            local.update("k", Labels::new(), true).await,
            Err(SnapshotError::NotFound { .. })
        ));
    });
}

#[test]
fn remove() {
    on_both(async |world: World| {
        let local = &world.local;
        world.layer("base", "", |at| write(&at.join("foo"), "foo")).await;
        local.prepare("active", "base", Labels::new()).await.unwrap();
        local.view("view", "base", Labels::new()).await.unwrap();
        let with_child = |result| matches!(result, Err(SnapshotError::State { what }) if what == "cannot remove snapshot with child");
        assert!(with_child(local.remove("base").await));
        local.remove("active").await.unwrap();
        assert!(with_child(local.remove("base").await));
        local.remove("view").await.unwrap();
        local.remove("base").await.unwrap();
        assert!(matches!(
            local.remove("base").await,
            Err(SnapshotError::NotFound { .. })
        ));
        assert!(world.list().await.is_empty() && world.folders().is_empty());
    });
}

#[test]
fn walk() {
    on_both(async |world: World| {
        world.layer("base", "", |at| write(&at.join("foo"), "foo")).await;
        world
            .layer("top", "base", |at| write(&at.join("bar"), "bar"))
            .await;
        let local = &world.local;
        local.prepare("active", "top", Labels::new()).await.unwrap();
        local.view("view", "top", Labels::new()).await.unwrap();
        local.view("alone", "", Labels::new()).await.unwrap();
        let listed: Vec<_> = world
            .list()
            .await
            .into_iter()
            .map(|info| (info.name, info.parent, info.kind))
            .collect();
        let expected = [
            ("active", "top", Kind::Active),
            ("alone", "", Kind::View),
            ("base", "", Kind::Committed),
            ("top", "base", Kind::Committed),
            ("view", "top", Kind::View),
        ];
        let owned = expected.map(|(name, parent, kind)| (name.to_owned(), parent.to_owned(), kind));
        assert_eq!(listed, owned);
    });
}

#[test]
fn layer_file_update() {
    on_both(async |world: World| {
        world
            .layer("1", "", |at| {
                fs::create_dir(at.join("etc")).unwrap();
                write(&at.join("etc/hosts"), "mydomain 10.0.0.1");
                write(&at.join("etc/profile"), "PATH=/usr/bin");
            })
            .await;
        world
            .layer("2", "1", |at| {
                write(&at.join("etc/hosts"), "mydomain 10.0.0.2");
                write(&at.join("etc/profile"), "PATH=/usr/bin");
                fs::create_dir(at.join("root")).unwrap();
                write(&at.join("root/.bashrc"), "PATH=/usr/sbin:/usr/bin");
            })
            .await;
        world
            .layer("3", "2", |at| {
                write(&at.join("etc/hosts"), "mydomain 10.0.0.3");
            })
            .await;
        for (layer, last) in [("1", "1"), ("2", "2"), ("3", "3")] {
            world
                .look(layer, |at| {
                    assert_eq!(read(&at.join("etc/hosts")), format!("mydomain 10.0.0.{last}"));
                    assert_eq!(read(&at.join("etc/profile")), "PATH=/usr/bin");
                    assert_eq!(at.join("root/.bashrc").exists(), layer != "1");
                })
                .await;
        }
    });
}

#[test]
fn remove_directory_in_lower_layer() {
    on_both(async |world: World| {
        world
            .layer("1", "", |at| {
                fs::create_dir(at.join("lib")).unwrap();
                write(&at.join("lib/hidden"), "hidden");
            })
            .await;
        world
            .layer("2", "1", |at| fs::remove_dir_all(at.join("lib")).unwrap())
            .await;
        world
            .layer("3", "2", |at| {
                fs::create_dir(at.join("lib")).unwrap();
                write(&at.join("lib/not-hidden"), "not hidden");
            })
            .await;
        world.look("2", |at| assert!(names(at).is_empty())).await;
        world
            .look("3", |at| assert_eq!(names(&at.join("lib")), set(["not-hidden"])))
            .await;
    });
}

#[test]
fn owners() {
    on_both(async |world: World| {
        world
            .layer("1", "", |at| {
                fs::create_dir(at.join("opt")).unwrap();
                fs::create_dir_all(at.join("opt/a/b/c")).unwrap();
                write(&at.join("opt/a/b/file.txt"), "hello");
            })
            .await;
        world
            .layer("2", "1", |at| {
                chown(at.join("opt"), Some(1), Some(1)).unwrap();
                chown(at.join("opt/a/b/file.txt"), Some(2), Some(2)).unwrap();
                chown(at, Some(7), Some(8)).unwrap();
            })
            .await;
        world.layer("3", "2", |at| write(&at.join("new"), "new")).await;
        world
            .look("3", |at| {
                let owner = |name: &str| {
                    let found = fs::metadata(at.join(name)).unwrap();
                    (found.uid(), found.gid())
                };
                assert_eq!(owner("opt"), (1, 1));
                assert_eq!(owner("opt/a/b/file.txt"), (2, 2));
                assert_eq!(owner("opt/a"), (0, 0));
                // Of the root, too: each upper folder is made like its parent's.
                assert_eq!(owner(""), (7, 8));
            })
            .await;
    });
}

#[test]
fn directory_permission_on_commit() {
    on_both(async |world: World| {
        world
            .layer("1", "", |at| {
                for (number, folder) in (1_u32..).zip(["dir1", "dir2", "dir3"]) {
                    fs::create_dir(at.join(folder)).unwrap();
                    chmod(&at.join(folder), 0o700 + number);
                }
            })
            .await;
        world
            .layer("2", "1", |at| {
                chmod(&at.join("dir1"), 0o1777);
                chmod(&at.join("dir2"), 0o111);
                write(&at.join("dir3/f"), "f");
            })
            .await;
        world.layer("3", "2", |at| chmod(at, 0o1751)).await;
        world.layer("4", "3", |at| write(&at.join("f"), "f")).await;
        world
            .look("4", |at| {
                assert_eq!(mode(&at.join("dir1")), 0o1777);
                assert_eq!(mode(&at.join("dir2")), 0o111);
                assert_eq!(mode(&at.join("dir3")), 0o703);
                assert_eq!(mode(at), 0o1751);
            })
            .await;
    });
}

#[test]
fn remove_intermediate_snapshot() {
    on_both(async |world: World| {
        let local = &world.local;
        world.layer("base", "", |at| write(&at.join("a"), "a")).await;
        world.layer("inter", "base", |at| write(&at.join("b"), "b")).await;
        local.prepare("top", "inter", Labels::new()).await.unwrap();
        assert!(matches!(
            local.remove("inter").await,
            Err(SnapshotError::State { .. })
        ));
        local.remove("top").await.unwrap();
        local.remove("inter").await.unwrap();
        world.look("base", |at| assert_eq!(names(at), set(["a"]))).await;
        local.remove("base").await.unwrap();
    });
}

#[test]
fn deleted_files_in_child_snapshot() {
    on_both(async |world: World| {
        world
            .layer("1", "", |at| {
                write(&at.join("foo"), "foo");
                write(&at.join("bar"), "bar");
            })
            .await;
        world
            .layer("2", "1", |at| fs::remove_file(at.join("foo")).unwrap())
            .await;
        world.layer("3", "2", |at| write(&at.join("baz"), "baz")).await;
        world
            .look("3", |at| assert_eq!(names(at), set(["bar", "baz"])))
            .await;
        world
            .look("1", |at| assert_eq!(names(at), set(["foo", "bar"])))
            .await;
    });
}

#[test]
fn move_file_from_lower_layer() {
    on_both(async |world: World| {
        world
            .layer("1", "", |at| {
                fs::create_dir(at.join("dir1")).unwrap();
                write(&at.join("dir1/f1"), "f1");
                fs::create_dir(at.join("dir2")).unwrap();
                write(&at.join("dir2/f2"), "original");
            })
            .await;
        world
            .layer("2", "1", |at| {
                fs::rename(at.join("dir1/f1"), at.join("dir2/f2")).unwrap();
            })
            .await;
        world
            .look("2", |at| {
                assert!(names(&at.join("dir1")).is_empty());
                assert_eq!(read(&at.join("dir2/f2")), "f1");
            })
            .await;
    });
}

#[test]
fn view_readonly() {
    on_both(async |world: World| {
        world.layer("1", "", |at| write(&at.join("foo"), "foo")).await;
        world.layer("2", "1", |at| write(&at.join("bar"), "bar")).await;
        for parent in ["", "1", "2"] {
            let key = format!("view-{parent}");
            let mounts = world.local.view(&key, parent, Labels::new()).await.unwrap();
            let mounted = Mounted::new(&mounts);
            for name in ["new", "foo"] {
                let error = fs::write(mounted.path().join(name), "x").unwrap_err();
                assert_eq!(error.raw_os_error(), Some(Errno::ROFS.raw_os_error()), "{parent}");
            }
        }
    });
}

#[test]
fn stat_in_walk() {
    on_both(async |world: World| {
        world.layer("a", "", |at| write(&at.join("foo"), "foo")).await;
        world.local.prepare("b", "a", Labels::new()).await.unwrap();
        for info in world.list().await {
            assert_eq!(world.local.stat(&info.name).await.unwrap(), info);
        }
    });
}

#[test]
fn close_twice() {
    on_both(async |world: World| {
        let second = world.local.clone();
        drop(second.clone());
        drop(second);
        world.layer("a", "", |at| write(&at.join("foo"), "foo")).await;
    });
}

#[test]
fn root_permission() {
    on_both(async |world: World| {
        world.layer("a", "", |at| assert_eq!(mode(at), 0o755)).await;
        world.look("a", |at| assert_eq!(mode(at), 0o755)).await;
        let folders = [("", 0o700), ("snapshots", 0o700)];
        for (folder, wanted) in folders {
            assert_eq!(mode(&world.root().join(folder)), wanted, "{folder}");
        }
    });
}

/// As `mv` does it: overlayfs refuses to rename a folder from below.
fn rename(from: &Path, to: &Path) {
    match fs::rename(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            fs::create_dir(to).unwrap();
            for name in names(from) {
                fs::copy(from.join(&name), to.join(&name)).unwrap();
            }
            fs::remove_dir_all(from).unwrap();
        }
        other => other.unwrap(),
    }
}

#[test]
fn rename_folders() {
    on_both(async |world: World| {
        world
            .layer("1", "", |at| {
                for folder in ["dir1", "somefiles"] {
                    fs::create_dir(at.join(folder)).unwrap();
                    write(&at.join(folder).join("f1"), "was here first");
                }
            })
            .await;
        world
            .layer("2", "1", |at| rename(&at.join("dir1"), &at.join("dir2")))
            .await;
        world
            .layer("3", "2", |at| {
                rename(&at.join("dir2"), &at.join("dir3"));
                fs::create_dir(at.join("dir1")).unwrap();
            })
            .await;
        world
            .look("3", |at| {
                assert_eq!(names(at), set(["dir1", "dir3", "somefiles"]));
                assert_eq!(names(&at.join("dir3")), set(["f1"]));
                assert!(names(&at.join("dir1")).is_empty());
            })
            .await;
    });
}

#[test]
fn many_layers_mount() {
    on_both(async |small: World| {
        let world = World::in_memory(small.which).await;
        world
            .layer("0", "", |at| {
                write(&at.join("bottom"), "way at the bottom\n");
                write(&at.join("overwriteme"), "FIRST!\n");
                fs::create_dir(at.join("addhere")).unwrap();
                fs::create_dir(at.join("onlyme")).unwrap();
                write(&at.join("onlyme/bottom"), "bye!\n");
            })
            .await;
        for number in 1..=128 {
            world
                .layer(&number.to_string(), &(number - 1).to_string(), |at| {
                    write(&at.join("overwriteme"), &format!("{number} WAS HERE!\n"));
                    write(&at.join(format!("addhere/file-{number}")), "same\n");
                    fs::remove_dir_all(at.join("onlyme")).unwrap();
                    fs::create_dir(at.join("onlyme")).unwrap();
                    write(&at.join(format!("onlyme/file-{number}")), "only me!\n");
                })
                .await;
        }
        world
            .look("128", |at| {
                assert_eq!(read(&at.join("bottom")), "way at the bottom\n");
                assert_eq!(read(&at.join("overwriteme")), "128 WAS HERE!\n");
                assert_eq!(names(&at.join("addhere")).len(), 128);
                assert_eq!(names(&at.join("onlyme")), set(["file-128"]));
            })
            .await;
    });
}
