//! Which mounts are given out, and what the options change.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use transom_meta::kv::Kv;
use transom_meta::kv::memory::Memory;
use transom_meta::names::Labels;
use transom_meta::snapshots::{SnapshotError, Snapshotter as _};
use transom_snapshot::{Features, Local, OverlayOptions, Place, snapshotter_root};
use transom_sys::Mount;
use transom_sys::mount::UnmountFlags;

use crate::helpers::{Which, World, labels, on, run};

const UIDS: &str = "containerd.io/snapshot/uidmapping";
const GIDS: &str = "containerd.io/snapshot/gidmapping";

/// An overlayfs snapshotter in `dir` with some options.
async fn overlayfs(dir: &Path, options: OverlayOptions) -> Result<Local, SnapshotError> {
    let kv: Arc<dyn Kv> = Arc::new(Memory::new());
    Local::overlayfs(Place::new(kv, dir.join("root")), options).await
}

fn quiet() -> OverlayOptions {
    OverlayOptions {
        features: Some(Features::default()),
        ..OverlayOptions::default()
    }
}

/// Two layers, `1` and `2`, without root.
async fn stack(local: &Local) {
    for (name, parent) in [("1", ""), ("2", "1")] {
        local.prepare("k", parent, Labels::new()).await.unwrap();
        local.commit(name, "k", "", Labels::new()).await.unwrap();
    }
}

fn bind(source: String, mode: &str) -> Vec<Mount> {
    vec![Mount {
        kind: "bind".to_owned(),
        source,
        target: String::new(),
        options: vec![mode.to_owned(), "rbind".to_owned()],
    }]
}

fn overlay(options: &[String]) -> Vec<Mount> {
    vec![Mount {
        kind: "overlay".to_owned(),
        source: "overlay".to_owned(),
        target: String::new(),
        options: options.to_vec(),
    }]
}

#[test]
fn overlayfs_mounts_are_containerds() {
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        let options = OverlayOptions {
            mount_options: vec!["volatile".to_owned()],
            features: Some(Features {
                index: true,
                userxattr: true,
                remap_ids: false,
            }),
            ..OverlayOptions::default()
        };
        let local = overlayfs(dir.path(), options).await.unwrap();
        let folder = |id: u64, name: &str| format!("{}/root/snapshots/{id}/{name}", dir.path().display());
        stack(&local).await;
        let none = Labels::new;
        let first = local.prepare("3", "", none()).await.unwrap();
        assert_eq!(first, bind(folder(3, "fs"), "rw"));
        let alone = local.view("4", "", none()).await.unwrap();
        assert_eq!(alone, bind(folder(4, "fs"), "ro"));
        let one = local.view("5", "1", none()).await.unwrap();
        assert_eq!(one, bind(folder(1, "fs"), "ro"));
        let lower = format!("lowerdir={}:{}", folder(2, "fs"), folder(1, "fs"));
        let extra = ["volatile", "userxattr", "index=off"].map(str::to_owned);
        let view = local.view("6", "2", none()).await.unwrap();
        assert_eq!(
            view,
            overlay(&[std::slice::from_ref(&lower), &extra[..]].concat())
        );
        let active = local.prepare("7", "2", none()).await.unwrap();
        let own = [
            format!("workdir={}", folder(7, "work")),
            format!("upperdir={}", folder(7, "fs")),
            lower,
        ];
        assert_eq!(active, overlay(&[&own[..], &extra[..]].concat()));
        for (key, mounts) in [("3", first), ("4", alone), ("5", one), ("6", view), ("7", active)] {
            assert_eq!(local.mounts(key).await.unwrap(), mounts, "{key}");
        }
        let error = local.mounts("2").await.unwrap_err();
        assert_eq!(error.to_string(), "requested snapshot \"2\" not active or view");
        let modes = [("7", 0o700), ("7/fs", 0o755), ("7/work", 0o711)];
        for (path, mode) in modes {
            let found = std::fs::metadata(dir.path().join("root/snapshots").join(path)).unwrap();
            assert_eq!(found.mode() & 0o7777, mode, "{path}");
        }
    });
}

#[test]
fn native_mounts_are_containerds() {
    on(Which::Native, async |world: World| {
        let local = &world.local;
        let folder = |id: u64| format!("{}/snapshots/{id}", world.root().display());
        stack(local).await;
        let none = Labels::new;
        assert_eq!(
            local.prepare("3", "2", none()).await.unwrap(),
            bind(folder(3), "rw")
        );
        assert_eq!(local.view("4", "2", none()).await.unwrap(), bind(folder(2), "ro"));
        assert_eq!(local.view("5", "", none()).await.unwrap(), bind(folder(5), "ro"));
        assert_eq!(world.folders(), ["1", "2", "3", "5"]);
    });
}

#[test]
fn an_option_that_is_given_is_not_added_again() {
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        let options = OverlayOptions {
            mount_options: vec!["index=on".to_owned()],
            features: Some(Features {
                index: true,
                userxattr: false,
                remap_ids: false,
            }),
            ..OverlayOptions::default()
        };
        let local = overlayfs(dir.path(), options).await.unwrap();
        stack(&local).await;
        let mounts = local.view("v", "2", Labels::new()).await.unwrap();
        assert_eq!(mounts[0].options[1..], ["index=on"]);
    });
}

#[test]
fn the_upper_folder_is_shown_where_it_is_asked_for() {
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        let options = OverlayOptions {
            upperdir_label: true,
            ..quiet()
        };
        let local = overlayfs(dir.path(), options).await.unwrap();
        local.prepare("k", "", labels(&[("a", "b")])).await.unwrap();
        let upper = format!("{}/root/snapshots/1/fs", dir.path().display());
        let shown = labels(&[
            ("a", "b"),
            ("containerd.io/snapshot/overlay.upperdir", upper.as_str()),
        ]);
        assert_eq!(local.stat("k").await.unwrap().labels, shown);
        assert_eq!(local.list(None, 9).await.unwrap()[0].labels, shown);
    });
}

#[test]
fn capabilities_say_what_works() {
    run(async || {
        let capabilities = async |options| {
            let dir = tempfile::tempdir().unwrap();
            let local = overlayfs(dir.path(), options).await.unwrap();
            local.capabilities()
        };
        assert_eq!(capabilities(quiet()).await, ["rebase", "only-remap-ids"]);
        let mapping = Some(Features {
            remap_ids: true,
            ..Features::default()
        });
        let remap = OverlayOptions {
            features: mapping,
            slow_chown: true,
            ..quiet()
        };
        assert_eq!(capabilities(remap).await, ["rebase", "remap-ids"]);
        let world = World::new(Which::Native).await;
        assert!(world.local.capabilities().is_empty());
    });
}

#[test]
fn mapped_ids_are_in_the_mounts_and_own_the_upper_folder() {
    if !transom_tests::require_root() {
        return;
    }
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        let options = OverlayOptions {
            features: Some(Features {
                remap_ids: true,
                ..Features::default()
            }),
            ..quiet()
        };
        let local = overlayfs(dir.path(), options).await.unwrap();
        stack(&local).await;
        let mapped = labels(&[(UIDS, "0:1000:65536"), (GIDS, "0:2000:65536")]);
        for (key, parent) in [("a", ""), ("b", "2")] {
            let mounts = local.prepare(key, parent, mapped.clone()).await.unwrap();
            assert_eq!(
                mounts[0].options[..2],
                ["uidmap=0:1000:65536", "gidmap=0:2000:65536"]
            );
            let upper = crate::helpers::own_files(&mounts);
            let found = std::fs::metadata(upper).unwrap();
            assert_eq!((found.uid(), found.gid()), (1000, 2000));
        }
        let half = labels(&[(UIDS, "0:1000:65536")]);
        let before = crate::helpers::folders(&dir.path().join("root"));
        let refused = local.prepare("c", "", half).await;
        assert!(
            matches!(refused, Err(SnapshotError::Invalid { .. })),
            "{refused:?}"
        );
        assert_eq!(crate::helpers::folders(&dir.path().join("root")), before);
    });
}

#[test]
fn a_root_that_would_change_the_options_is_refused() {
    run(async || {
        for name in ["a:b", "a,b", "a\\b"] {
            let dir = tempfile::tempdir().unwrap();
            let refused = overlayfs(&dir.path().join(name), quiet()).await;
            let error = refused.unwrap_err();
            assert!(error.to_string().contains("choose another root"), "{error}");
            assert!(!dir.path().join(name).exists());
        }
    });
}

#[test]
fn more_lower_folders_than_the_kernel_takes_are_refused() {
    run(async || {
        let dir = crate::helpers::in_memory();
        let local = overlayfs(dir.path(), quiet()).await.unwrap();
        let mut parent = String::new();
        for number in 1..=500 {
            local.prepare("k", &parent, Labels::new()).await.unwrap();
            parent = number.to_string();
            local.commit(&parent, "k", "", Labels::new()).await.unwrap();
        }
        let mounts = local.prepare("k", "500", Labels::new()).await.unwrap();
        let lower = mounts[0].options.iter().find(|o| o.starts_with("lowerdir="));
        assert_eq!(lower.unwrap().split(':').count(), 500);
        local.commit("501", "k", "", Labels::new()).await.unwrap();
        let refused = local.prepare("k", "501", Labels::new()).await.unwrap_err();
        assert!(matches!(refused, SnapshotError::Invalid { .. }), "{refused}");
    });
}

#[test]
fn the_probe_finds_overlayfs_and_leaves_nothing() {
    if !transom_tests::require_root() {
        return;
    }
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        let local = overlayfs(dir.path(), OverlayOptions::default()).await.unwrap();
        let entries = std::fs::read_dir(dir.path().join("root")).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["snapshots"]);
        stack(&local).await;
        let index = Path::new("/sys/module/overlay/parameters/index").exists();
        let mounts = local.view("v", "2", Labels::new()).await.unwrap();
        assert_eq!(mounts[0].options.iter().any(|o| o == "index=off"), index);
    });
}

/// What the probe says of mapped ids is what a client finds that mounts such a snapshot.
#[test]
fn the_probe_knows_whether_ids_can_be_mapped() {
    if !transom_tests::require_root() {
        return;
    }
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        let local = overlayfs(dir.path(), OverlayOptions::default()).await.unwrap();
        let mapped = labels(&[(UIDS, "0:1000:65536"), (GIDS, "0:2000:65536")]);
        let one = local.prepare("one", "", Labels::new()).await.unwrap();
        std::fs::write(crate::helpers::own_files(&one).join("of root"), "").unwrap();
        local.commit("1", "one", "", Labels::new()).await.unwrap();
        let mounts = local.prepare("k", "1", mapped).await.unwrap();
        let says = local.capabilities().iter().any(|name| name == "remap-ids");
        let asks = mounts[0]
            .options
            .iter()
            .any(|option| option.starts_with("uidmap="));
        assert_eq!(says, asks, "{mounts:?}");
        let folder = tempfile::tempdir().unwrap();
        let always = [
            format!("uidmap={}", "0:1000:65536"),
            format!("gidmap={}", "0:2000:65536"),
        ];
        let mut with_maps = mounts.clone();
        with_maps[0].options.retain(|option| !option.contains("idmap="));
        with_maps[0].options.splice(..0, always);
        let mounted = transom_sys::mount::mount_all(&with_maps, folder.path());
        let owner = std::fs::metadata(folder.path().join("of root")).map(|of| (of.uid(), of.gid()));
        transom_sys::mount::unmount_all(folder.path(), UnmountFlags::empty()).unwrap();
        assert_eq!(
            says,
            mounted.is_ok() && owner.unwrap() == (1000, 2000),
            "{mounted:?}"
        );
    });
}

#[test]
fn a_probe_that_was_killed_leaves_nothing_mounted() {
    if !transom_tests::require_root() {
        return;
    }
    run(async || {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("root/probe-1/mapped/mount1");
        std::fs::create_dir_all(&left).unwrap();
        let precious = tempfile::tempdir().unwrap();
        std::fs::write(precious.path().join("kept"), "").unwrap();
        let bind = Mount::bind(precious.path().to_str().unwrap(), false);
        transom_sys::mount::mount_all(&[bind], &left).unwrap();
        let local = overlayfs(dir.path(), OverlayOptions::default()).await.unwrap();
        local.cleanup().await.unwrap();
        assert!(!dir.path().join("root/probe-1").exists());
        assert!(precious.path().join("kept").exists());
    });
}

#[test]
fn the_probe_says_why_overlayfs_does_not_work() {
    if !transom_tests::require_root() {
        return;
    }
    run(async || {
        // An overlay cannot be the upper folder of another.
        let world = World::new(Which::Overlayfs).await;
        world.layer("1", "", |_| {}).await;
        let mounts = world.local.prepare("k", "1", Labels::new()).await.unwrap();
        let mounted = crate::helpers::Mounted::new(&mounts);
        let refused = overlayfs(mounted.path(), OverlayOptions::default()).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, SnapshotError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("cannot mount an overlay"), "{error}");
        let left = std::fs::read_dir(mounted.path().join("root")).unwrap();
        let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["snapshots"]);
    });
}

#[test]
fn the_root_is_containerds() {
    assert_eq!(
        snapshotter_root(Path::new("/var/lib/transom"), "overlayfs"),
        Path::new("/var/lib/transom/io.containerd.snapshotter.v1.overlayfs")
    );
}
