//! The power is cut after each acknowledged call.
//!
//! The file system is one of its own, in a file on a loop device: that file, copied, holds only what was written back or
//! flushed, and is what a disk would hold.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use transom_meta::kv::{self, Kind as Engine, Kv};
use transom_meta::names::Labels;
use transom_meta::snapshots::{Info, Snapshotter as _};
use transom_snapshot::Local;

use crate::helpers::{Which, folders, list, own_files, read, run, write};

/// A file system in a file, mounted while this lives.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    fn make(dir: &Path) -> Result<Disk, String> {
        let image = dir.join("disk");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        command("mkfs.ext4", &["-q", "-F", path(&image)])?;
        Disk::mount(image)
    }

    fn mount(image: PathBuf) -> Result<Disk, String> {
        let mounted = image.with_extension("mounted");
        std::fs::create_dir_all(&mounted).unwrap();
        // The journal is written when it is asked for, and not every few seconds besides.
        command("mount", &["-o", "loop,commit=300", path(&image), path(&mounted)])?;
        Ok(Disk { image, mounted })
    }

    /// What the disk would hold without power now.
    fn without_power(&self) -> Disk {
        let copy = self.image.with_file_name("copy");
        command("cp", &["--sparse=always", path(&self.image), path(&copy)]).unwrap();
        Disk::mount(copy).unwrap()
    }

    fn store(&self) -> Arc<dyn Kv> {
        kv::open(Engine::Redb, &self.mounted.join("meta")).unwrap()
    }

    async fn open(&self, which: Which) -> Local {
        let root = self.mounted.join("root");
        which.open(&self.store(), &root, None).await.unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        command("umount", &["--lazy", path(&self.mounted)]).unwrap();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn command(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program}: {said}"))
}

/// Cuts the power: what was acknowledged is there, each snapshot has its folder, and committed files are whole.
async fn check(disk: &Disk, which: Which, acknowledged: &[Info], files: &[(&str, &str)]) {
    let copy = disk.without_power();
    let local = copy.open(which).await;
    let found = local.found();
    assert!(found.missing.is_empty() && found.foreign.is_empty(), "{found:?}");
    local.cleanup().await.unwrap();
    assert_eq!(list(&local).await, acknowledged, "{which:?}");
    assert_eq!(
        folders(&copy.mounted.join("root")).len(),
        acknowledged.len(),
        "{which:?}"
    );
    for (name, text) in files {
        let view = local.view("check", name, Labels::new()).await.unwrap();
        // Of the folder itself: with overlayfs the nearest lower one.
        let lower = view[0].options.iter().find_map(|o| o.strip_prefix("lowerdir="));
        let folder = lower.map_or(view[0].source.as_str(), |lower| {
            lower.split(':').next().unwrap_or(lower)
        });
        assert_eq!(read(&Path::new(folder).join("f")), *text, "{which:?}, {name}");
        local.remove("check").await.unwrap();
    }
    for info in acknowledged.iter().filter(|info| info.name == "k") {
        let mounts = local.mounts(&info.name).await.unwrap();
        let own = own_files(&mounts);
        assert!(own.is_dir());
        if which == Which::Native && !info.parent.is_empty() {
            assert_eq!(read(&own.join("f")), "base");
        }
    }
}

async fn work(disk: &Disk, which: Which) {
    let local = disk.open(which).await;
    let none = Labels::new;
    let mounts = local.prepare("k", "", none()).await.unwrap();
    check(disk, which, &list(&local).await, &[]).await;
    write(&own_files(&mounts).join("f"), "base");
    local.commit("base", "k", "", none()).await.unwrap();
    check(disk, which, &list(&local).await, &[("base", "base")]).await;
    let mounts = local.prepare("k", "base", none()).await.unwrap();
    check(disk, which, &list(&local).await, &[("base", "base")]).await;
    write(&own_files(&mounts).join("f"), "top");
    local.commit("top", "k", "", none()).await.unwrap();
    let both = [("base", "base"), ("top", "top")];
    check(disk, which, &list(&local).await, &both).await;
    local
        .update("top", [("a".into(), "b".into())].into(), false)
        .await
        .unwrap();
    check(disk, which, &list(&local).await, &both).await;
    local.remove("top").await.unwrap();
    check(disk, which, &list(&local).await, &both[..1]).await;
    assert_eq!(list(&local).await.len(), 1);
}

#[test]
fn what_was_acknowledged_survives() {
    if !transom_tests::require_root() {
        return;
    }
    run(async || {
        for which in Which::BOTH {
            let dir = tempfile::tempdir().unwrap();
            match Disk::make(dir.path()) {
                Ok(disk) => work(&disk, which).await,
                Err(reason) => {
                    return transom_tests::skip(&format!("needs a file system on a loop device: {reason}"));
                }
            }
        }
    });
}
