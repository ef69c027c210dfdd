//! The folder that a driver works in: finding, making and syncing what is below it, by descriptors.
//!
//! Every name is resolved by `openat2(2)` beneath the root: a symbolic link may lead elsewhere below the root, and out of it
//! never.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::TEMPORARY;
use super::flush::{Failure, Flusher};
use super::journal::{Company, Journal};
use super::options::FlushBy;
use super::steps::Steps;
use crate::{StoragePath, limits};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The folder, and what is known of folders that were made in it.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) fd: OwnedFd,
    pub(super) device: u64,
    pub(super) steps: Steps,
    pub(super) flush: FlushBy,
    pub(super) flusher: Flusher,
    /// Nothing where the folder can only be read, or the disk is full.
    pub(super) journal: Option<Journal>,
    /// Keeps others from having a journal that does not know of this driver.
    at_the_door: Option<Company>,
    /// Folders whose names may not be on the disk yet, with the number of their making.
    fresh: Mutex<HashMap<StoragePath, u64>>,
    made: AtomicU64,
    /// Makes the names of temporary files differ between processes.
    prefix: String,
    named: AtomicU64,
}

impl Root {
    /// Opens the folder, and makes it if need be.
    pub(super) fn open(path: &Path, flush: Option<FlushBy>, steps: Steps) -> std::io::Result<Root> {
        make_root(path)?;
        let fd = fs::openat(CWD, path, FOLDER, Mode::empty())?;
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let flush = match flush {
            Some(flush) => flush,
            None => FlushBy::of(&fd)?,
        };
        Ok(Root {
            device: fs::fstat(&fd)?.st_dev,
            fd,
            steps,
            flush,
            flusher: Flusher::default(),
            journal: None,
            at_the_door: None,
            fresh: Mutex::default(),
            made: AtomicU64::new(0),
            prefix: format!("{:x}-{:x}", std::process::id(), since.as_nanos()),
            named: AtomicU64::new(0),
        })
    }

    /// Joins those who work in the folder. Where it can only be read there is nothing to be agreed on.
    pub(super) fn join(&mut self, journal: bool) -> std::io::Result<()> {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, Unsupported};
        let (company, file) = match Company::join(self) {
            Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | Unsupported) => {
                return Ok(());
            }
            other => other?,
        };
        let used = journal && self.flush == FlushBy::Filesystem;
        match file {
            Some(file) => self.journal = Some(Journal::new(company, file, self.steps.clone(), used)),
            None => self.at_the_door = Some(company),
        }
        Ok(())
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
            if self.flush == FlushBy::Folders {
                // Noted before it can be seen: whoever finds the folder must know.
                let number = self.made.fetch_add(1, Ordering::Relaxed);
                self.fresh().insert(path.clone(), number);
            }
            match fs::mkdirat(&fd, path.name(), Mode::from_bits_retain(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            fd = fs::openat(&fd, path.name(), FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(fd)
    }

    /// Brings the names in folders to the disk, and those of the folders on the way that are new.
    pub(super) fn sync_folders(&self, mut folders: BTreeSet<StoragePath>) -> Result<(), Failure> {
        let fresh = self.fresh_above(&folders);
        folders.extend(fresh.iter().filter_map(|(folder, _)| folder.parent()));
        if self.flush == FlushBy::Filesystem {
            // Those of another file system, where nothing is known of what is fresh.
            let above: Vec<StoragePath> = folders.iter().flat_map(way).collect();
            folders.extend(above);
        }
        for folder in folders {
            self.sync_folder(folder)?;
        }
        let mut known = self.fresh();
        for (folder, number) in fresh {
            if known.get(&folder) == Some(&number) {
                known.remove(&folder);
            }
        }
        Ok(())
    }

    /// The folders, among these and those that they are in, whose names may not be on the disk yet.
    fn fresh_above(&self, folders: &BTreeSet<StoragePath>) -> Vec<(StoragePath, u64)> {
        let known = self.fresh();
        if known.is_empty() {
            return Vec::new();
        }
        let found = folders
            .iter()
            .flat_map(way)
            .filter_map(|folder| known.get(&folder).map(|&number| (folder, number)));
        found.collect()
    }

    /// Syncs a folder; if it is gone, the one that it is gone from.
    fn sync_folder(&self, mut folder: StoragePath) -> Result<(), Failure> {
        let failed = |doing, path: &StoragePath, errno| Failure {
            doing,
            path: path.clone(),
            errno: Some(errno),
        };
        loop {
            match self.open_at(&folder, FOLDER) {
                Ok(fd) => return fs::fsync(&fd).map_err(|errno| failed("sync", &folder, errno)),
                Err(Errno::NOENT | Errno::NOTDIR) if !folder.is_root() => {
                    folder = folder.parent().unwrap_or_else(StoragePath::root);
                }
                Err(errno) => return Err(failed("open", &folder, errno)),
            }
        }
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

/// A folder, and all that it is in.
fn way(folder: &StoragePath) -> impl Iterator<Item = StoragePath> + use<> {
    std::iter::successors(Some(folder.clone()), StoragePath::parent)
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
