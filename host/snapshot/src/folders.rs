//! The folders on disk: `snapshots/<id>`, and `snapshots/new-<id>` while one is made.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use transom_meta::snapshots::{SnapshotError, Usage};
use transom_sys::{Errno, Linux, OFlags, Sys as _};

use crate::error::io;
use crate::steps::{Step, Steps};
use crate::tree::{self, Failure, each};

/// The folder of all snapshots, below the root.
const SNAPSHOTS: &str = "snapshots";

/// What a folder's name begins with until it is filled.
const TEMPORARY: &str = "new-";

/// The folders of one snapshotter.
#[derive(Debug)]
pub(crate) struct Folders {
    root: PathBuf,
    path: PathBuf,
    fd: OwnedFd,
    steps: Steps,
    /// Folders that nothing needs any more, and why the last attempt to remove each of them failed.
    garbage: Mutex<BTreeMap<String, Option<String>>>,
}

/// What is in the folder of all snapshots.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The folders whose names are ids.
    pub(crate) ids: BTreeSet<u64>,
    /// Those that were being made.
    pub(crate) temporary: Vec<String>,
    /// What is not a snapshotter's.
    pub(crate) foreign: Vec<String>,
}

impl Folders {
    /// Opens the folders in `root`, which is made if need be, durably.
    pub(crate) fn open(root: &Path, steps: Steps) -> Result<Folders, SnapshotError> {
        let path = root.join(SNAPSHOTS);
        let new = !path.exists();
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&path).map_err(|error| io("make", &path, error))?;
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            Linux
                .openat(CWD, path.as_os_str().as_bytes(), flags, 0)
                .map_err(|error| io("open", path, error))
        };
        let fd = open(&path)?;
        if new {
            for folder in path.ancestors().take(3) {
                Linux
                    .fsync(open(folder)?.as_fd())
                    .map_err(|error| io("sync", folder, error))?;
            }
        }
        Ok(Folders {
            root: root.to_path_buf(),
            path,
            fd,
            steps,
            garbage: Mutex::default(),
        })
    }

    /// The snapshotter's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of all snapshots.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The folder of a snapshot.
    pub(crate) fn path(&self, id: u64) -> PathBuf {
        self.path.join(id.to_string())
    }

    /// The steps, for what is done in the folders.
    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// What is there.
    pub(crate) fn list(&self) -> Result<Listing, SnapshotError> {
        let mut listing = Listing::default();
        // A descriptor of its own: the other one's place in the folder is everybody's.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fail = |error| io("list", &self.path, error);
        let folder = Linux.openat(self.fd(), b".", flags, 0).map_err(fail)?;
        let listed = each(folder.as_fd(), |entry| {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            let id = name.parse().ok().filter(|id: &u64| id.to_string() == name);
            match id {
                Some(id) => drop(listing.ids.insert(id)),
                None if name.starts_with(TEMPORARY) => listing.temporary.push(name),
                None => listing.foreign.push(name),
            }
            Ok(())
        });
        listed.map_err(fail)?;
        Ok(listing)
    }

    /// Makes the folder of a snapshot under a temporary name, and has `fill` fill it. What is half made is garbage.
    pub(crate) fn make(
        &self,
        id: u64,
        fill: impl FnOnce(BorrowedFd<'_>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let name = format!("{TEMPORARY}{id}");
        let fail = |error| io("make", &self.path.join(&name), error);
        Linux.mkdirat(self.fd(), name.as_bytes(), 0o700).map_err(fail)?;
        self.steps.reached(Step::FolderMade);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let opened = Linux.openat(self.fd(), name.as_bytes(), flags, 0);
        let filled = opened.map_err(fail).and_then(|new| {
            // The umask may have taken something away.
            Linux.fchmod(new.as_fd(), 0o700).map_err(fail)?;
            fill(new.as_fd())
        });
        if filled.is_err() {
            self.discard(&name);
        }
        filled
    }

    /// Gives a folder that was filled its name. With `durably` the name is on the disk then. After an error the caller discards it.
    pub(crate) fn name(&self, id: u64, durably: bool) -> Result<(), SnapshotError> {
        self.steps.reached(Step::FolderFilled);
        let (from, to) = (format!("{TEMPORARY}{id}"), id.to_string());
        let renamed = renameat_with(&self.fd, &from, &self.fd, &to, RenameFlags::NOREPLACE);
        renamed.map_err(|error| io("name", &self.path.join(&to), error))?;
        if durably {
            Linux
                .fsync(self.fd())
                .map_err(|error| io("sync", &self.path, error))?;
        }
        self.steps.reached(Step::FolderNamed);
        Ok(())
    }

    /// Opens a folder of a snapshot.
    pub(crate) fn enter(&self, id: u64, below: &str) -> Result<OwnedFd, SnapshotError> {
        let name = join(id, below);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let opened = Linux.openat(self.fd(), name.as_bytes(), flags, 0);
        opened.map_err(|error| io("open", &self.path.join(name), error))
    }

    /// Brings everything on the file system of the snapshots to the disk. An error that nobody was told yet is told here.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        Linux.syncfs(self.fd())
    }

    /// The error of [`sync`](Self::sync).
    pub(crate) fn unsynced(&self, error: Errno) -> SnapshotError {
        io("sync", &self.path, error)
    }

    /// What the folder `below` of a snapshot takes.
    pub(crate) fn measure(&self, id: u64, below: &str) -> Result<Usage, Failure> {
        let folder = Linux.openat(
            self.fd(),
            id.to_string().as_bytes(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW,
            0,
        );
        let folder = folder.map_err(|error| Failure {
            path: Vec::new(),
            error,
        })?;
        let below = if below.is_empty() { "." } else { below };
        tree::usage::measure(folder.as_fd(), below)
    }

    /// Nothing needs this folder any more.
    pub(crate) fn abandon(&self, name: String) {
        self.garbage().insert(name, None);
    }

    /// The names of what nothing needs.
    pub(crate) fn abandoned(&self) -> Vec<String> {
        self.garbage().keys().cloned().collect()
    }

    /// Removes a folder that nothing needs. If that fails, it waits for the next time.
    pub(crate) fn remove(&self, name: &str) -> Result<(), SnapshotError> {
        let removed = tree::remove::remove(self.fd(), name).map_err(|failure| {
            let below = std::ffi::OsStr::from_bytes(&failure.path);
            let path = self.path.join(name);
            let path = if below.is_empty() { path } else { path.join(below) };
            io("remove", &path, failure.error)
        });
        match &removed {
            Ok(()) => {
                self.garbage().remove(name);
                self.steps.reached(Step::FolderRemoved);
            }
            Err(error) => {
                let reason = error.to_string();
                // The same reason again and again is said once.
                if self.garbage().insert(name.to_owned(), Some(reason.clone())) != Some(Some(reason)) {
                    tracing::warn!(folder = name, %error, "a removed snapshot stays on the disk");
                }
            }
        }
        removed
    }

    /// Removes the folder of an id that was not finished, whichever name it has got to.
    pub(crate) fn discard_made(&self, id: u64) {
        self.discard(&format!("{TEMPORARY}{id}"));
        self.discard(&id.to_string());
    }

    /// Removes a folder that a failed call made.
    pub(crate) fn discard(&self, name: &str) {
        self.abandon(name.to_owned());
        // What cannot be removed now is logged, and tried again.
        let _ = self.remove(name);
    }

    fn garbage(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.garbage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn join(id: u64, below: &str) -> String {
    if below.is_empty() {
        id.to_string()
    } else {
        format!("{id}/{below}")
    }
}
