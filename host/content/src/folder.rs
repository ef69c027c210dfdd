//! One ingest folder, by its handle: what happens to its name (an abort, a new writer) cannot mislead it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, flock, fstat, open, openat, renameat, stat, unlinkat,
};
use rustix::io::Errno;

use crate::layout::{DATA, REF, STARTED, TEMPORARY, TOTAL, UPDATED};
use crate::{limits, timestamp};

/// An open ingest folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    locked: AtomicBool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing alone does not do: a child that is just being started has the descriptor, too, until it runs its own program.
        if *self.locked.get_mut() {
            let _ = flock(&self.fd, FlockOperation::Unlock);
        }
    }
}

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Folder {
            fd: open(path, flags, Mode::empty())?,
            path: path.to_path_buf(),
            locked: AtomicBool::new(false),
        })
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock that keeps other processes out. It lies on the folder itself, so it adds no file to the layout, and
    /// goes when the handle is closed, however the process ends. `false` if somebody has it.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        match flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                self.locked.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether the path still leads to this folder.
    pub(crate) fn is_current(&self) -> io::Result<bool> {
        let mine = fstat(&self.fd)?;
        match stat(&self.path) {
            Ok(there) => Ok((there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Opens a file in the folder; never through a symlink, and without waiting on a pipe.
    pub(crate) fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.fd, name, flags, Mode::from_raw_mode(0o644))?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    /// The whole text of a small file; an error if it has more than `max` bytes.
    fn text(&self, name: &str, max: usize) -> io::Result<String> {
        let mut text = String::new();
        let read = self
            .file(name, OFlags::RDONLY)?
            .take(max as u64 + 1)
            .read_to_string(&mut text)?;
        if read > max {
            Err(io::ErrorKind::InvalidData.into())
        } else {
            Ok(text)
        }
    }

    /// The ref that the folder belongs to.
    pub(crate) fn reference(&self) -> io::Result<String> {
        self.text(REF, limits::REF_BYTES)
    }

    /// `startedat`, if it is there and readable.
    pub(crate) fn started(&self) -> Option<SystemTime> {
        timestamp::parse(&self.text(STARTED, limits::SMALL_FILE_BYTES).ok()?)
    }

    /// `updatedat`, if it is there and readable.
    pub(crate) fn updated(&self) -> Option<SystemTime> {
        timestamp::parse(&self.text(UPDATED, limits::SMALL_FILE_BYTES).ok()?)
    }

    /// `total`, if it is there and readable.
    pub(crate) fn total(&self) -> Option<u64> {
        self.text(TOTAL, limits::SMALL_FILE_BYTES)
            .ok()?
            .parse()
            .ok()
            .filter(|&total| total > 0)
    }

    /// Writes a small file that nobody reads yet.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut file = self.file(name, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        file.write_all(text.as_bytes())
    }

    /// Replaces a small file in one step, so that no reader sees half of it.
    pub(crate) fn put(&self, name: &str, text: &str) -> io::Result<()> {
        self.replace(name, text, |_| Ok(()))
    }

    /// As [`put`](Folder::put), so that a power cut leaves the old text or the new one. The name itself is on the disk after
    /// [`sync`](Folder::sync).
    pub(crate) fn put_durably(&self, name: &str, text: &str) -> io::Result<()> {
        self.replace(name, text, File::sync_all)
    }

    fn replace(&self, name: &str, text: &str, sync: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
        let temporary = format!("{name}{TEMPORARY}");
        let mut file = self.file(&temporary, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        file.write_all(text.as_bytes())?;
        sync(&file)?;
        Ok(renameat(&self.fd, temporary.as_str(), &self.fd, name)?)
    }

    /// Writes or removes `total`; as in containerd, 0 is not written down.
    pub(crate) fn put_total(&self, total: Option<u64>) -> io::Result<()> {
        match total {
            Some(total) if total > 0 => self.put(TOTAL, &total.to_string()),
            _ => self.unlink(TOTAL),
        }
    }

    /// Removes a file; no error if it is not there.
    pub(crate) fn unlink(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Brings what an opening wrote, and the folder's entries, to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        for name in [REF, STARTED, TOTAL] {
            match self.file(name, OFlags::RDONLY) {
                Ok(file) => file.sync_all()?,
                Err(e) if e.kind() == io::ErrorKind::NotFound && name == TOTAL => {}
                Err(e) => return Err(e),
            }
        }
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// Removes the folder and all that is in it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for name in [DATA, REF, STARTED, UPDATED, TOTAL] {
            self.unlink(name)?;
        }
        match std::fs::remove_dir(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            // Temporary files of a crash, or what somebody else put there.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => remove_tree(&self.path),
            other => other,
        }
    }
}

/// Removes a folder, also while somebody who still has its handle writes into it.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match std::fs::remove_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !path.try_exists()? => return Ok(()),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
                ) && tries < limits::REMOVE_TRIES =>
            {
                tries += 1;
            }
            other => return other,
        }
    }
}
