//! Temporary mounts: a folder of its own for each, which goes with it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::calls::MountSys;
use super::description::Mount;
use super::error::MountError;
use super::limits::{TEMPORARY_UNMOUNT_TRIES, UNMOUNT_TRIES};
use super::variants::without_volatile;
use super::{stack, unmount};
use crate::linux::Linux;

/// What the folders are called: this and a number.
const PREFIX: &str = "mount-";

/// Who may look into them: what is mounted there may have programs that are set-user-ID, in old versions.
const MODE: u32 = 0o700;

/// The folder of all temporary mounts of a process, which must be its alone.
#[derive(Debug)]
pub struct TempMounts<S: MountSys = Linux> {
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    sys: Arc<S>,
    folder: PathBuf,
    opened: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The names in use.
    live: BTreeSet<u64>,
}

/// Mounts in a folder of their own. Dropping it unmounts them and removes the folder, as [`TempMount::unmount`] does,
/// which also says how that went.
#[derive(Debug)]
pub struct TempMount<S: MountSys = Linux> {
    shared: Arc<Shared<S>>,
    number: u64,
    path: PathBuf,
    /// Where something is mounted, in the order it was.
    places: Vec<PathBuf>,
    done: bool,
}

impl TempMounts {
    /// Takes `folder`, which is made if it is missing (its parent is not), for this user alone (mode 0700).
    ///
    /// # Errors
    /// [`MountError::Folder`].
    pub fn new(folder: &Path) -> Result<Self, MountError> {
        Self::with(Arc::new(Linux), folder)
    }
}

impl<S: MountSys> TempMounts<S> {
    /// As [`TempMounts::new`], with other calls.
    ///
    /// # Errors
    /// [`MountError::Folder`].
    pub fn with(sys: Arc<S>, folder: &Path) -> Result<Self, MountError> {
        let failed = |errno| folder_error(folder, errno);
        match sys.mkdirat(CWD, folder.as_os_str().as_bytes(), MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        // As the kernel names it in its list of mounts.
        let folder = std::fs::canonicalize(folder)
            .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let opened = sys
            .openat(CWD, folder.as_os_str().as_bytes(), flags, 0)
            .map_err(failed)?;
        // An older one, or the umask, may have made it different.
        sys.fchmod(opened.as_fd(), MODE).map_err(failed)?;
        Ok(TempMounts {
            shared: Arc::new(Shared {
                sys,
                folder,
                opened,
                state: Mutex::default(),
            }),
        })
    }

    /// The folder, as the kernel names it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Mounts all in a new folder. Overlays are mounted with durable writes: `volatile` is for who can throw everything
    /// away after a crash.
    ///
    /// # Errors
    /// Those of [`mount_all`](super::mount_all), and [`MountError::Folder`]. Nothing is mounted then, and no folder left.
    pub fn mount(&self, mounts: &[Mount]) -> Result<TempMount<S>, MountError> {
        let mut mount = self.make_folder()?;
        // If this fails, dropping it removes the folder.
        mount.places = stack::mount_all(&*self.shared.sys, &without_volatile(mounts), &mount.path)?;
        Ok(mount)
    }

    fn make_folder(&self) -> Result<TempMount<S>, MountError> {
        let shared = &self.shared;
        loop {
            let number = {
                let mut state = shared.state();
                state.next += 1;
                let number = state.next;
                state.live.insert(number);
                number
            };
            let name = format!("{PREFIX}{number}");
            let path = shared.folder.join(&name);
            match shared.sys.mkdirat(shared.opened.as_fd(), name.as_bytes(), MODE) {
                Ok(()) => {
                    return Ok(TempMount {
                        shared: Arc::clone(shared),
                        number,
                        path,
                        places: Vec::new(),
                        done: false,
                    });
                }
                Err(errno) => {
                    shared.state().live.remove(&number);
                    // An earlier process left one of that name.
                    if errno != Errno::EXIST {
                        return Err(folder_error(&path, errno));
                    }
                }
            }
        }
    }

    /// Unmounts and removes what is in the folder and is not in use: what an earlier process left, and what was busy when
    /// this one wanted it gone. Only empty folders are removed. Answers why each that stays does so.
    ///
    /// # Errors
    /// [`MountError::Folder`] if the folder cannot be listed.
    pub fn clean(&self) -> Result<Vec<MountError>, MountError> {
        let shared = &self.shared;
        let mut kept = Vec::new();
        for name in self.leftovers()? {
            let path = shared.folder.join(OsStr::from_bytes(&name));
            let (flags, tries) = (UnmountFlags::NOFOLLOW, UNMOUNT_TRIES);
            let unmounted = unmount::unmount_recursive(&*shared.sys, &path, flags, tries);
            let removed = unmounted.and_then(|_| shared.remove(&path, &name));
            kept.extend(removed.err());
        }
        Ok(kept)
    }

    fn leftovers(&self) -> Result<Vec<Vec<u8>>, MountError> {
        let shared = &self.shared;
        let failed = |errno| folder_error(&shared.folder, errno);
        // A descriptor of its own, for the position in the list is the descriptor's.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let list = shared
            .sys
            .openat(shared.opened.as_fd(), b".", flags, 0)
            .map_err(failed)?;
        let (mut batch, mut names) = (Vec::new(), Vec::new());
        while shared.sys.getdents(list.as_fd(), &mut batch).map_err(failed)? {
            names.extend(batch.drain(..).map(|entry| entry.name));
        }
        let state = shared.state();
        names.retain(|name| {
            let number = name.strip_prefix(PREFIX.as_bytes());
            let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            number.is_some_and(|number| !state.live.contains(&number))
        });
        Ok(names)
    }
}

impl<S: MountSys> Shared<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes an empty folder. Never more: if something is mounted after all, that would remove what is mounted.
    fn remove(&self, path: &Path, name: &[u8]) -> Result<(), MountError> {
        match self.sys.rmdirat(self.opened.as_fd(), name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(folder_error(path, errno)),
        }
    }
}

impl<S: MountSys> TempMount<S> {
    /// Where the mounts are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts everything, the last first, and removes the folder.
    ///
    /// # Errors
    /// [`MountError::Busy`] and the like; the folder and what is still mounted then stay for [`TempMounts::clean`].
    pub fn unmount(mut self) -> Result<(), MountError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), MountError> {
        if self.done {
            return Ok(());
        }
        self.done = true;
        let shared = &self.shared;
        let result = self.take_off().and_then(|()| {
            let name = format!("{PREFIX}{}", self.number);
            shared.remove(&self.path, name.as_bytes())
        });
        shared.state().live.remove(&self.number);
        result
    }

    fn take_off(&self) -> Result<(), MountError> {
        let sys = &*self.shared.sys;
        for place in self.places.iter().rev() {
            match unmount::once(sys, place, UnmountFlags::NOFOLLOW) {
                Ok(()) => {}
                // Something is mounted below, as with rbind, or looks in for a moment.
                Err(MountError::Busy { .. }) => {
                    let (flags, tries) = (UnmountFlags::NOFOLLOW, TEMPORARY_UNMOUNT_TRIES);
                    unmount::unmount_recursive(sys, &self.path, flags, tries)?;
                    return Ok(());
                }
                // Somebody else unmounted it.
                Err(MountError::Unmount {
                    errno: Errno::INVAL, ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<S: MountSys> Drop for TempMount<S> {
    fn drop(&mut self) {
        // Nobody is left to tell; `clean` will find what stays.
        let _ = self.finish();
    }
}

fn folder_error(path: &Path, errno: Errno) -> MountError {
    MountError::Folder {
        path: path.to_path_buf(),
        errno,
    }
}
