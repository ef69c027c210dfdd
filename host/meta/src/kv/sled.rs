//! The `sled` crate behind group commit.
//!
//! sled 0.34's `flush()` hands its bytes to the disk with `sync_file_range`, which asks neither for the file's new blocks nor
//! for the disk's own cache to be written. So each flush here ends with `fdatasync` of its file, and large values, which it
//! keeps in files of their own, are synced one by one.
//!
//! What is written is visible to readers a moment before it is durable.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::sled::{Batch, Config, Db, Mode};
use bytes::Bytes;

use super::group::{Engine, Group, Writes, guarded, opening};
use super::lock::{self, Lock};
use super::{Durability, Kind, Kv, KvError, Pair, Range, damaged, io_error};
use crate::limits;

/// Opens the store in the folder `sled` of `folder`, or makes it.
///
/// # Errors
/// As [`open`](super::open()).
pub(super) fn open(folder: &Path) -> Result<Arc<dyn Kv>, KvError> {
    Ok(Arc::new(Group::start(Files::open(folder)?)?))
}

/// sled's files and what makes them durable.
struct Files {
    db: Db,
    path: PathBuf,
    /// The file `db`, once more: errors of writing it back are told to each who has it open.
    log: File,
    /// Large values that are durable already.
    large: Mutex<BTreeSet<OsString>>,
    /// Dropped last.
    _lock: Lock,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // sled's own prints every page.
        f.debug_struct("Files")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Files {
    fn open(folder: &Path) -> Result<Files, KvError> {
        let lock = Lock::take(folder)?;
        let path = lock::place(folder, Kind::Sled)?;
        let config = Config::new()
            .path(&path)
            .mode(Mode::LowSpace)
            .use_compression(false)
            .cache_capacity(limits::KV_CACHE_BYTES as u64)
            .flush_every_ms(None);
        let db = opening(&path, || {
            config.open().map_err(|error| failed(&path, "open", error))
        })?;
        let log = File::open(path.join("db")).map_err(|error| io_error("open", &error))?;
        let files = Files {
            db,
            path,
            log,
            large: Mutex::default(),
            _lock: lock,
        };
        files.settle(folder)?;
        Ok(files)
    }

    /// Opening may have made files and folders, repaired the log, and written a snapshot of it.
    fn settle(&self, folder: &Path) -> Result<(), KvError> {
        self.flush()?;
        File::open(self.path.join("conf"))
            .and_then(|conf| conf.sync_all())
            .map_err(|error| io_error("sync", &error))?;
        lock::sync_folder(&self.path.join("blobs"))?;
        lock::sync_folder(&self.path)?;
        lock::sync_new_folder(folder)
    }

    fn failed(&self, action: &'static str, error: ::sled::Error) -> KvError {
        failed(&self.path, action, error)
    }

    /// Syncs the files of large values that were not there at the last flush.
    fn sync_large(&self) -> std::io::Result<()> {
        let mut known = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.path.join("blobs");
        let mut now = BTreeSet::new();
        let mut synced = false;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if !known.contains(&entry.file_name()) {
                match File::open(entry.path()).and_then(|file| file.sync_data()) {
                    Ok(()) => synced = true,
                    // Replaced and removed meanwhile.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            now.insert(entry.file_name());
        }
        if synced {
            File::open(&folder)?.sync_all()?;
        }
        *known = now;
        Ok(())
    }
}

impl Engine for Files {
    const KIND: Kind = Kind::Sled;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        guarded(|| {
            let found = self.db.get(key).map_err(|error| self.failed("read", error))?;
            Ok(found.map(|value| Bytes::copy_from_slice(&value)))
        })
    }

    fn range(&self, range: &Range, limit: usize) -> Result<Vec<Pair>, KvError> {
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Ok(Vec::new());
        }
        guarded(|| {
            let found = self
                .db
                .range::<&[u8], _>((Bound::Included(&range.start[..]), end));
            let pair = |found: ::sled::Result<(::sled::IVec, ::sled::IVec)>| {
                let (key, value) = found.map_err(|error| self.failed("read", error))?;
                Ok(Pair {
                    key: Bytes::copy_from_slice(&key),
                    value: Bytes::copy_from_slice(&value),
                })
            };
            found.take(limit).map(pair).collect()
        })
    }

    fn apply(&self, writes: &Writes, _: Durability) -> Result<(), KvError> {
        let mut batch = Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(&key[..], &value[..]),
                None => batch.remove(&key[..]),
            }
        }
        self.db
            .apply_batch(batch)
            .map_err(|error| self.failed("write", error))
    }

    fn flush(&self) -> Result<(), KvError> {
        self.db.flush().map_err(|error| self.failed("flush", error))?;
        // Values before the log that points to them.
        self.sync_large().map_err(|error| io_error("flush", &error))?;
        self.log.sync_data().map_err(|error| io_error("flush", &error))
    }

    fn size(&self) -> Result<u64, KvError> {
        self.db
            .size_on_disk()
            .map_err(|error| self.failed("measure", error))
    }

    fn room(&self) -> bool {
        lock::has_room(&self.path)
    }

    /// What it could not write stays visible in its memory, and it takes no more.
    fn recover(&self) -> bool {
        false
    }
}

fn failed(path: &Path, action: &'static str, error: ::sled::Error) -> KvError {
    match error {
        ::sled::Error::Io(error) => io_error(action, &error),
        error @ (::sled::Error::Corruption { .. } | ::sled::Error::Unsupported(_)) => {
            damaged(path, error.to_string())
        }
        other => KvError::Io {
            action,
            reason: other.to_string(),
        },
    }
}
