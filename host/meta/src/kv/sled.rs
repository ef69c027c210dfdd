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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

/// The name of an empty tree that every store of ours has.
const MARK: &[u8] = b"transom";

/// Makes a store under another name first, so that one without the mark is never a store of which the making was cut off.
fn create(folder: &Path, path: &Path) -> Result<(), KvError> {
    let made = folder.join("sled.new");
    match std::fs::remove_dir_all(&made) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io_error("make", &error));
        }
        _ => {}
    }
    let db = open_db(&made)?;
    let marked = db.open_tree(MARK).and_then(|_| db.flush());
    marked.map_err(|error| failed(&made, "make", error))?;
    drop(db);
    for file in ["db", "conf", "blobs", "."] {
        let synced = File::open(made.join(file)).and_then(|file| file.sync_all());
        synced.map_err(|error| io_error("make", &error))?;
    }
    std::fs::rename(&made, path).map_err(|error| io_error("make", &error))?;
    lock::sync_new_folder(folder)
}

fn open_db(path: &Path) -> Result<Db, KvError> {
    let mut tries = OPEN_TRIES;
    loop {
        let config = Config::new()
            .path(path)
            .mode(Mode::LowSpace)
            .use_compression(false)
            .cache_capacity(limits::KV_CACHE_BYTES as u64)
            .flush_every_ms(None);
        let opened = opening(path, || {
            config.open().map_err(|error| failed(path, "open", error))
        });
        match opened {
            // Our own lock is held, so this is a store of this very process, whose threads have not ended yet; or a child that is
            // just being started has its descriptors until it runs its own program.
            Err(KvError::Io { reason, .. }) if reason.contains("could not acquire lock") && tries > 0 => {
                tries -= 1;
                std::thread::sleep(OPEN_PAUSE);
            }
            other => return other,
        }
    }
}

/// How often, and how far apart, a store that this process has just closed is tried again.
const OPEN_TRIES: u32 = 3000;
const OPEN_PAUSE: Duration = Duration::from_millis(10);

/// sled's files and what makes them durable.
struct Files {
    db: Db,
    failed: AtomicBool,
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

impl Drop for Files {
    fn drop(&mut self) {
        if self.failed.load(Ordering::Relaxed) {
            // It would wait for ever for a write that it gave up, with a lock that all stores of the process share.
            std::mem::forget(self.db.clone());
        }
    }
}

impl Files {
    fn open(folder: &Path) -> Result<Files, KvError> {
        let lock = Lock::take(folder)?;
        let path = lock::place(folder, Kind::Sled)?;
        if !path.exists() {
            create(folder, &path)?;
        }
        // Opened without space for its repairs it fails, and is damaged for good.
        if lock::room(&path) == 0 {
            return Err(KvError::NoSpace);
        }
        let db = open_db(&path)?;
        // It takes a log in which it finds nothing that it knows for an empty one.
        if !db.tree_names().iter().any(|name| *name == MARK) {
            return Err(damaged(&path, "its log does not begin as it was made".to_owned()));
        }
        let log = File::open(path.join("db")).map_err(|error| io_error("open", &error))?;
        let files = Files {
            db,
            failed: AtomicBool::new(false),
            path,
            log,
            large: Mutex::default(),
            _lock: lock,
        };
        // Opening may have repaired the log and written a snapshot of it.
        files.flush()?;
        lock::sync_folder(&files.path)?;
        Ok(files)
    }

    fn failed(&self, action: &'static str, error: ::sled::Error) -> KvError {
        self.failed.store(true, Ordering::Relaxed);
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

    fn room(&self) -> u64 {
        lock::room(&self.path)
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
