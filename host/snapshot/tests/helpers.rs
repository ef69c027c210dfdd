//! Snapshotters on folders of their own, in mount namespaces of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use tempfile::TempDir;
use transom_meta::kv::Kv;
use transom_meta::kv::memory::Memory;
use transom_meta::names::Labels;
use transom_meta::snapshots::{Info, SnapshotError, Snapshotter as _};
use transom_snapshot::{Features, Local, NativeOptions, Observer, OverlayOptions, Place};
use transom_sys::Mount;

/// Which snapshotter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Overlayfs,
    Native,
}

impl Which {
    pub(crate) const BOTH: [Which; 2] = [Which::Overlayfs, Which::Native];

    pub(crate) async fn open(
        self,
        kv: &Arc<dyn Kv>,
        root: &Path,
        observer: Option<Observer>,
    ) -> Result<Local, SnapshotError> {
        let place = Place {
            observer,
            ..Place::new(Arc::clone(kv), root)
        };
        match self {
            Which::Overlayfs => {
                let options = OverlayOptions {
                    features: Some(Features::default()),
                    ..OverlayOptions::default()
                };
                Local::overlayfs(place, options).await
            }
            Which::Native => Local::native(place, NativeOptions::default()).await,
        }
    }
}

/// A snapshotter, and what it stands on.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) local: Local,
    pub(crate) which: Which,
}

impl World {
    pub(crate) async fn new(which: Which) -> World {
        World::within(which, tempfile::tempdir().unwrap()).await
    }

    /// With its files in memory: for many snapshots, each of whose commits syncs.
    pub(crate) async fn in_memory(which: Which) -> World {
        World::within(which, in_memory()).await
    }

    async fn within(which: Which, dir: TempDir) -> World {
        let kv: Arc<dyn Kv> = Arc::new(Memory::new());
        let local = which.open(&kv, &dir.path().join("root"), None).await.unwrap();
        World {
            dir,
            kv,
            local,
            which,
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The names in the folder of all snapshots, in order.
    pub(crate) fn folders(&self) -> Vec<String> {
        folders(&self.root())
    }

    /// The folder with a snapshot's own files.
    pub(crate) async fn files(&self, key: &str) -> PathBuf {
        let mounts = self.local.mounts(key).await.unwrap();
        own_files(&mounts)
    }

    /// Prepares, has `change` change what is mounted, commits.
    pub(crate) async fn layer(&self, name: &str, parent: &str, change: impl FnOnce(&Path)) {
        let key = format!("{name}-active");
        let mounts = self
            .local
            .prepare(&key, parent, Labels::new())
            .await
            .unwrap_or_else(|error| panic!("prepare {key}: {error}"));
        change(Mounted::new(&mounts).path());
        self.commit(name, &key).await;
    }

    pub(crate) async fn commit(&self, name: &str, key: &str) {
        let committed = self.local.commit(name, key, "", Labels::new()).await;
        committed.unwrap_or_else(|error| panic!("commit {key}: {error}"));
    }

    /// Shows `look` what a view of a snapshot has.
    pub(crate) async fn look(&self, name: &str, look: impl FnOnce(&Path)) {
        let key = format!("{name}-view");
        let mounts = self.local.view(&key, name, Labels::new()).await.unwrap();
        look(Mounted::new(&mounts).path());
        self.local.remove(&key).await.unwrap();
    }

    /// All snapshots, in pages of a few.
    pub(crate) async fn list(&self) -> Vec<Info> {
        list(&self.local).await
    }
}

/// A folder in memory, where there is such a thing.
pub(crate) fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(crate) async fn list(local: &Local) -> Vec<Info> {
    let mut all: Vec<Info> = Vec::new();
    loop {
        let after = all.last().map(|info| info.name.clone());
        let page = local.list(after.as_deref(), 3).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// The names among the snapshots of a root, in order.
pub(crate) fn folders(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("snapshots")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The folder that an active snapshot's mounts write to.
pub(crate) fn own_files(mounts: &[Mount]) -> PathBuf {
    let mount = &mounts[0];
    let upper = mount
        .options
        .iter()
        .find_map(|option| option.strip_prefix("upperdir="));
    PathBuf::from(upper.unwrap_or(&mount.source))
}

/// Runs a test on a runtime of its own. As root, also in a mount namespace of its own: nothing that it mounts is seen
/// elsewhere, and nothing stays when it fails.
pub(crate) fn run(test: impl AsyncFnOnce() + Send) {
    let alone = || {
        if rustix::process::geteuid().is_root() {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        }
        // Its threads are made by this one, and so are in the same namespace.
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(test());
    };
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(alone).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs a test with a snapshotter, for both of them. Skipped without root.
pub(crate) fn on_both(test: impl AsyncFn(World) + Send + Sync) {
    if transom_tests::require_root() {
        for which in Which::BOTH {
            on(which, async |world| test(world).await);
        }
    }
}

/// Runs a test with a snapshotter.
pub(crate) fn on(which: Which, test: impl AsyncFnOnce(World) + Send) {
    run(async || test(World::new(which).await).await);
}

/// Something mounted, until it is dropped.
pub(crate) struct Mounted {
    at: TempDir,
}

impl Mounted {
    pub(crate) fn new(mounts: &[Mount]) -> Mounted {
        Mounted::try_new(mounts).unwrap_or_else(|error| panic!("{mounts:?}: {error}"))
    }

    pub(crate) fn try_new(mounts: &[Mount]) -> rustix::io::Result<Mounted> {
        let mounted = Mounted {
            at: tempfile::tempdir().unwrap(),
        };
        let [mount] = mounts else {
            panic!("one mount: {mounts:?}")
        };
        match mount.kind.as_str() {
            "bind" => bind(mount, mounted.path())?,
            "overlay" => overlay(mount, mounted.path())?,
            other => panic!("a mount of type {other}"),
        }
        Ok(mounted)
    }

    pub(crate) fn path(&self) -> &Path {
        self.at.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(self.at.path(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).unwrap();
    }
}

fn bind(mount: &Mount, at: &Path) -> rustix::io::Result<()> {
    let has = |option: &str| mount.options.iter().any(|have| have == option);
    assert!(has("rbind") && (has("ro") != has("rw")), "{mount:?}");
    mount_bind_recursive(mount.source.as_str(), at)?;
    if has("ro") {
        mount_remount(at, MountFlags::BIND | MountFlags::RDONLY, "")?;
    }
    Ok(())
}

/// The options must fit into a page: with many lower folders their names are made relative to what they share.
fn overlay(overlay: &Mount, at: &Path) -> rustix::io::Result<()> {
    let mut data = overlay.options.join(",");
    if data.len() > 3500 {
        let lower = overlay
            .options
            .iter()
            .find_map(|option| option.strip_prefix("lowerdir="));
        let first = lower.unwrap().split(':').next().unwrap();
        let shared = Path::new(first).ancestors().nth(2).unwrap();
        // Of this test's threads only: a mount namespace of one's own comes with a working directory of one's own.
        std::env::set_current_dir(shared).unwrap();
        data = data.replace(&format!("{}/", shared.display()), "");
    }
    let data = std::ffi::CString::new(data).unwrap();
    mount(
        overlay.source.as_str(),
        at,
        "overlay",
        MountFlags::empty(),
        data.as_c_str(),
    )
}

pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    owned.collect()
}
