//! One daemon for one root.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::Failure;

/// The lock's file in the root.
pub const LOCK: &str = "transomd.lock";

/// The root is this process's for as long as this lives, also if the process is killed.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the root, which is made if it is not there.
    ///
    /// # Errors
    /// [`Failure::Held`] with the process that has it, [`Failure::Io`].
    pub fn take(root: &Path) -> Result<Lock, Failure> {
        folder(root, 0o700)?;
        let path = root.join(LOCK);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let mut file = opened.map_err(|e| Failure::io("open", &path, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(held(root, &mut file)),
            Err(e) => return Err(Failure::io("lock", &path, e.into())),
        }
        let mut put = || -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        put().map_err(|e| Failure::io("write", &path, e))?;
        Ok(Lock { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone does not do: a child that is just being started has the descriptor, too, until it runs its own program.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn held(root: &Path, file: &mut File) -> Failure {
    let mut text = String::new();
    // Who has just taken it may not have written its number yet.
    let _ = file.take(32).read_to_string(&mut text);
    Failure::Held {
        root: root.to_path_buf(),
        pid: text.trim().parse().ok(),
    }
}

/// Makes a folder and those above it; `mode` is for the last one.
///
/// # Errors
/// [`Failure::Io`].
pub fn folder(path: &Path, mode: u32) -> Result<(), Failure> {
    let fail = |path: &Path, e| Failure::io("make folder", path, e);
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above).map_err(|e| fail(above, e))?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.map_err(|e| fail(path, e)),
    }
}
