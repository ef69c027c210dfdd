//! One process at a time: a lock on a file beside the store, which says whose it is.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{Kind, KvError, io_error};
use crate::limits;

/// Held as long as the store is open; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Makes the folder and takes its lock.
    pub(super) fn take(folder: &Path) -> Result<Lock, KvError> {
        std::fs::create_dir_all(folder).map_err(|error| io_error("make the folder of", &error))?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join("lock"))
            .map_err(|error| io_error("lock", &error))?;
        // A child that the last holder was just starting when it was killed has its descriptors until it runs its own program.
        let mut locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        for _ in 0..limits::KV_LOCK_TRIES {
            if locked != Err(rustix::io::Errno::WOULDBLOCK) {
                break;
            }
            std::thread::sleep(limits::KV_LOCK_PAUSE);
            locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match locked {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(KvError::InUse {
                    path: folder.display().to_string(),
                    holder: holder(&mut file),
                });
            }
            Err(error) => return Err(io_error("lock", &error.into())),
        }
        // Only for people: a disk that is full must not keep a store from being opened.
        if let Err(error) = sign(&mut file) {
            tracing::warn!(%error, "cannot write the process id into the lock of the metadata");
        }
        Ok(Lock { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone does not do, for the reason above.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // It may be between taking the lock and signing.
    let _ = file.take(32).read_to_string(&mut text);
    let pid = text.trim();
    if pid.is_empty() {
        String::new()
    } else {
        format!(" (pid {pid})")
    }
}

/// The path of this kind's files in the folder, refused if only another kind's are there.
pub(super) fn place(folder: &Path, wanted: Kind) -> Result<PathBuf, KvError> {
    let path = |kind: Kind| folder.join(kind.name());
    let there = |kind: Kind| path(kind).exists();
    if there(wanted) {
        return Ok(path(wanted));
    }
    match Kind::ALL.into_iter().find(|kind| there(*kind)) {
        None => Ok(path(wanted)),
        Some(found) => Err(KvError::OtherKind {
            path: folder.display().to_string(),
            found,
            wanted,
        }),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), KvError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| io_error("sync the folder of", &error))
}

/// Makes the folder and its own name durable.
pub(super) fn sync_new_folder(folder: &Path) -> Result<(), KvError> {
    sync_folder(folder)?;
    match folder.parent() {
        Some(parent) if parent != Path::new("") => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Bytes that the disk under `path` has left, besides the reserve.
pub(super) fn room(path: &Path) -> u64 {
    use crate::limits::{KV_RESERVE_BYTES, KV_RESERVE_PART};
    // What cannot be asked does not forbid: the write itself will say.
    let Ok(disk) = rustix::fs::statvfs(path) else {
        return u64::MAX;
    };
    let (free, all) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
    free.saturating_sub(KV_RESERVE_BYTES.min(all / KV_RESERVE_PART))
}
