//! The folder that a driver works in: finding, making and syncing what is below it, by descriptors.
//!
//! Every name is resolved by `openat2(2)` beneath the root: a symbolic link may lead elsewhere below the root, and out of it
//! never.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::steps::Steps;
use super::{TEMPORARY, failed};
use crate::{Error, StoragePath, limits};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The folder, and what is known of folders that were made in it.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    pub(super) steps: Steps,
    /// Folders whose names may not be on the disk yet, with the number of their making.
    fresh: Mutex<HashMap<StoragePath, u64>>,
    made: AtomicU64,
    /// Makes the names of temporary files differ between processes.
    prefix: String,
    named: AtomicU64,
}

impl Root {
    /// Opens the folder, and makes it if need be.
    pub(super) fn open(path: &Path, steps: Steps) -> std::io::Result<Root> {
        make_root(path)?;
        let fd = fs::openat(CWD, path, FOLDER, Mode::empty())?;
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Ok(Root {
            fd,
            steps,
            fresh: Mutex::default(),
            made: AtomicU64::new(0),
            prefix: format!("{:x}-{:x}", std::process::id(), since.as_nanos()),
            named: AtomicU64::new(0),
        })
    }

    /// Opens what is at a path.
    pub(super) fn open_at(&self, path: &StoragePath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.open_relative(relative(path), flags)
    }

    fn open_relative(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // A folder on the way was renamed meanwhile.
                Err(Errno::AGAIN) if tries < limits::RESOLVE_TRIES => tries += 1,
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// The folder that a path is in, which must be there.
    pub(super) fn parent(&self, path: &StoragePath) -> rustix::io::Result<OwnedFd> {
        let parent = path.parent().unwrap_or_else(StoragePath::root);
        self.open_at(&parent, FOLDER)
    }

    /// The folder that a path is in, made if need be.
    pub(super) fn make_parent(&self, path: &StoragePath) -> rustix::io::Result<OwnedFd> {
        let parent = path.parent().unwrap_or_else(StoragePath::root);
        let mut tries = 0;
        loop {
            match self.make(&parent) {
                // Somebody removed a folder between two steps.
                Err(Errno::NOENT) if tries < limits::MAKE_TRIES => tries += 1,
                other => return other,
            }
        }
    }

    fn make(&self, folder: &StoragePath) -> rustix::io::Result<OwnedFd> {
        let mut missing = Vec::new();
        let mut there = folder.clone();
        let mut fd = loop {
            match self.open_at(&there, FOLDER) {
                Ok(fd) => break fd,
                Err(Errno::NOENT) => {
                    let Some(above) = there.parent() else {
                        return Err(Errno::NOENT);
                    };
                    missing.push(std::mem::replace(&mut there, above));
                }
                Err(errno) => return Err(errno),
            }
        };
        for path in missing.into_iter().rev() {
            // Noted before it can be seen: whoever finds the folder must know.
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            self.fresh().insert(path.clone(), number);
            match fs::mkdirat(&fd, path.name(), Mode::from_bits_retain(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            fd = fs::openat(&fd, path.name(), FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(fd)
    }

    /// Brings the names in the folder of `path` to the disk, and the folders on the way that are new.
    pub(super) fn sync_parent(&self, path: &StoragePath, parent: &OwnedFd) -> Result<(), Error> {
        let sync = |fd: &OwnedFd| fs::fsync(fd).map_err(failed("sync the folder of", path));
        sync(parent)?;
        let mut folder = path.parent();
        while let Some(path) = folder {
            let number = self.fresh().get(&path).copied();
            folder = path.parent();
            if let (Some(number), Some(above)) = (number, &folder) {
                sync(&self.open_at(above, FOLDER).map_err(failed("open", above))?)?;
                let mut fresh = self.fresh();
                if fresh.get(&path) == Some(&number) {
                    fresh.remove(&path);
                }
            }
        }
        self.steps.reached(super::Step::FolderSynced);
        Ok(())
    }

    /// A new temporary file, and its name in [`temporary_folder`](Root::temporary_folder).
    pub(super) fn temporary_file(&self, folder: &OwnedFd) -> rustix::io::Result<(File, String)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let name = self.temporary_name();
        let fd = fs::openat(folder, &name, flags, Mode::from_bits_retain(0o666))?;
        Ok((File::from(fd), name))
    }

    pub(super) fn temporary_name(&self) -> String {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number:x}", self.prefix)
    }

    /// The folder of temporary files and of what is being deleted. No path leads into it.
    pub(super) fn temporary_folder(&self) -> rustix::io::Result<OwnedFd> {
        match self.open_relative(TEMPORARY, FOLDER) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        match fs::mkdirat(&self.fd, TEMPORARY, Mode::from_bits_retain(0o777)) {
            Ok(()) | Err(Errno::EXIST) => self.open_relative(TEMPORARY, FOLDER),
            Err(errno) => Err(errno),
        }
    }

    fn fresh(&self) -> MutexGuard<'_, HashMap<StoragePath, u64>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path for `openat2(2)` beneath the root.
fn relative(path: &StoragePath) -> &str {
    if path.is_root() { "." } else { &path.as_str()[1..] }
}

/// Makes the folder and those above it, each name on the disk.
fn make_root(path: &Path) -> std::io::Result<()> {
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut there = path.to_path_buf();
    while !there.try_exists()? {
        let above = match there.parent() {
            Some(above) if !above.as_os_str().is_empty() => above.to_path_buf(),
            _ => PathBuf::from("."),
        };
        missing.push(std::mem::replace(&mut there, above));
    }
    for folder in missing.iter().rev() {
        std::fs::create_dir_all(folder)?;
        File::open(&there)?.sync_all()?;
        there.clone_from(folder);
    }
    Ok(())
}
