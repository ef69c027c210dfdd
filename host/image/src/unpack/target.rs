//! The folder that an image is unpacked into: empty at the start, and again after a failure.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use transom_layer::apply::{is_empty, remove_contents};

/// The mode of a folder that is made for an image: that of a root folder.
const ROOT_MODE: u32 = 0o755;

/// Why a target folder is no good.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Something is in it.
    #[error("{} is not empty: unpack into a new or empty folder", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be made or opened.
    #[error("cannot unpack into {}: {source}{}", path.display(), advice(source))]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// What a failed unpack had made could not be removed.
    #[error("unpacking failed, and {} could not be cleaned: {source}; remove it by hand", path.display())]
    Cleaning {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; make the folder above it first",
        io::ErrorKind::NotADirectory => "; it must be a folder",
        _ => "",
    }
}

/// An open target folder.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    folder: Arc<File>,
    /// Whether it did not exist before.
    made: bool,
}

impl Target {
    /// Opens the folder at `path`, or makes it; the folder above must exist.
    ///
    /// # Errors
    /// [`TargetError::NotEmpty`], [`TargetError::Unusable`].
    pub fn prepare(path: &Path) -> Result<Target, TargetError> {
        let unusable = |source| TargetError::Unusable {
            path: path.to_owned(),
            source,
        };
        let made = match DirBuilder::new().mode(ROOT_MODE).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(unusable(error)),
        };
        let flags = (OFlags::DIRECTORY | OFlags::CLOEXEC).bits().cast_signed();
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map_err(unusable)?;
        if !made && !is_empty(folder.as_fd()).map_err(|errno| unusable(errno.into()))? {
            return Err(TargetError::NotEmpty {
                path: path.to_owned(),
            });
        }
        Ok(Target {
            path: path.to_owned(),
            folder: Arc::new(folder),
            made,
        })
    }

    /// The open folder.
    pub fn folder(&self) -> Arc<File> {
        Arc::clone(&self.folder)
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves everything as it was before [`Target::prepare`].
    ///
    /// # Errors
    /// [`TargetError::Cleaning`].
    pub fn restore(&self) -> Result<(), TargetError> {
        let cleaning = |source| TargetError::Cleaning {
            path: self.path.clone(),
            source,
        };
        remove_contents(self.folder.as_fd()).map_err(|errno| cleaning(errno.into()))?;
        if self.made {
            fs::remove_dir(&self.path).map_err(cleaning)?;
        }
        Ok(())
    }
}
