//! Real mounts, as root. Each test is in a mount namespace of its own, which ends with the test's thread: whatever a
//! test leaves mounted is gone with it.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which end the test as an assertion does"
)]

mod bind;
mod fuse;
mod idmap;
mod loops;
mod overlay;
mod place;
mod temp;
mod unmount;

use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use transom_sys::Mount;
use transom_sys::mount::info::{self, MountInfo};
use transom_tests::needs;

/// A file system in memory that only this test sees.
struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    /// `None` if the test must be left out, which has then been said.
    fn new() -> Option<Self> {
        if !needs::require_root() {
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let folder = tempfile::tempdir().unwrap();
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), None).unwrap();
        Some(Room { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a folder, and says its path.
    fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Makes a folder with a file of the same name and content in it.
    fn layer(&self, name: &str) -> String {
        let path = self.folder(name);
        fs::write(path.join(path.file_name().unwrap()), name).unwrap();
        text(&path)
    }

    /// What is mounted below the room, without the room itself.
    fn mounted(&self) -> Vec<MountInfo> {
        let list = info::mounts(&transom_sys::Linux).unwrap();
        let room = fs::canonicalize(self.folder.path()).unwrap();
        info::below(&list, &room)
            .filter(|mount| mount.target != room)
            .cloned()
            .collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The folder under it is removed by its own guard. A test that failed may have left more in it.
        let _ = rustix::mount::unmount(self.folder.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn described(kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        kind: kind.to_owned(),
        source: source.to_owned(),
        target: String::new(),
        options: options.iter().map(|&option| option.to_owned()).collect(),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
