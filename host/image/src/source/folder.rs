//! A layout folder: files opened beneath it, whatever links it holds.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::ImageError;
use crate::source::blob::Extent;

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

/// A pipe in a file's place must not make opening wait.
const FILE_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
const FOLDER_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the folder itself; links to it are followed, for the person named it.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn open(path: &Path) -> Result<Folder, ImageError> {
        let handle = rustix::fs::openat(CWD, path, FOLDER_FLAGS, Mode::empty());
        Ok(Folder {
            handle: handle.map_err(|errno| failed(path, errno.into()))?,
            path: path.to_owned(),
        })
    }

    /// Opens a regular file by its path in the folder; `None` when it is not there.
    ///
    /// # Errors
    /// [`ImageError::OutsideLayout`] when a link leads out of the folder, [`ImageError::NotAFile`].
    pub fn open_file(&self, name: &str) -> Result<Option<Extent>, ImageError> {
        let path = self.path.join(name);
        let file = match self.open_beneath(name) {
            Ok(handle) => File::from(handle),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::XDEV | Errno::LOOP) => return Err(ImageError::OutsideLayout { path }),
            Err(errno) => return Err(failed(&path, errno.into())),
        };
        let metadata = file.metadata().map_err(|error| failed(&path, error))?;
        if !metadata.is_file() {
            return Err(ImageError::NotAFile { path });
        }
        Ok(Some(Extent::new(Arc::new(file), 0, metadata.len())))
    }

    fn open_beneath(&self, name: &str) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.handle, name, FILE_FLAGS, Mode::empty(), resolve) {
            // Kernels before 5.6, and seccomp filters that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.open_step_by_step(name),
            opened => opened,
        }
    }

    /// Without `openat2`: one folder after another, no links at all.
    fn open_step_by_step(&self, name: &str) -> Result<OwnedFd, Errno> {
        let mut parts = name.split('/').peekable();
        let mut folder = rustix::io::fcntl_dupfd_cloexec(&self.handle, 0)?;
        while let Some(part) = parts.next() {
            if matches!(part, "" | "." | "..") {
                return Err(Errno::XDEV);
            }
            let last = parts.peek().is_none();
            let flags = if last { FILE_FLAGS } else { FOLDER_FLAGS };
            folder = rustix::fs::openat(&folder, part, flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(folder)
    }
}

fn failed(path: &Path, source: io::Error) -> ImageError {
    ImageError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn without_openat2_links_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("a")).unwrap();
        std::fs::write(temp.path().join("a/file"), b"x").unwrap();
        symlink("file", temp.path().join("a/link")).unwrap();
        symlink("a", temp.path().join("b")).unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        assert!(folder.open_step_by_step("a/file").is_ok());
        assert_eq!(folder.open_step_by_step("a/link").unwrap_err(), Errno::LOOP);
        assert_eq!(folder.open_step_by_step("b/file").unwrap_err(), Errno::NOTDIR);
        assert_eq!(folder.open_step_by_step("a/../a/file").unwrap_err(), Errno::XDEV);
        assert_eq!(folder.open_step_by_step("a/none").unwrap_err(), Errno::NOENT);
    }
}
