//! The `redb` crate behind group commit.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ::redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition};
use bytes::{Bytes, BytesMut};

use super::group::{Engine, Group, Writes, guarded, opening};
use super::lock::{self, Lock};
use super::{Durability, Kind, Kv, KvError, Pair, Range, damaged, io_error};
use crate::limits;

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("metadata");

/// Opens the store in the file `redb` of `folder`, or makes it.
///
/// # Errors
/// As [`open`](super::open()).
pub(super) fn open(folder: &Path) -> Result<Arc<dyn Kv>, KvError> {
    let lock = Lock::take(folder)?;
    let path = lock::place(folder, Kind::Redb)?;
    if !path.exists() {
        create(folder, &path)?;
    }
    let mut pages = Pages::open(path, |path| builder().open(path))?;
    pages.lock = Some(lock);
    Ok(Arc::new(Group::start(pages)?))
}

/// Makes a store under another name first: redb does not open a file whose first pages were not all written.
fn create(folder: &Path, path: &Path) -> Result<(), KvError> {
    let made = folder.join("redb.new");
    match std::fs::remove_file(&made) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io_error("make", &error));
        }
        _ => {}
    }
    drop(Pages::open(made.clone(), |path| builder().create(path))?);
    let renamed = File::open(&made).and_then(|file| {
        file.sync_all()?;
        std::fs::rename(&made, path)
    });
    renamed.map_err(|error| io_error("make", &error))?;
    lock::sync_new_folder(folder)
}

/// A store on bytes that a test keeps, to cut their power.
///
/// # Errors
/// As [`open`](super::open()).
#[doc(hidden)]
pub fn on(backend: impl StorageBackend) -> Result<Arc<dyn Kv>, KvError> {
    let pages = Pages::open(PathBuf::new(), |_| builder().create_with_backend(backend))?;
    Ok(Arc::new(Group::start(pages)?))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(limits::KV_CACHE_BYTES);
    builder
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// redb's file.
#[derive(Debug)]
struct Pages {
    path: PathBuf,
    open: RwLock<Option<Open>>,
    /// Something is visible and not durable.
    behind: AtomicBool,
    /// Dropped last. None for a test's bytes.
    lock: Option<Lock>,
}

/// A database, and its newest state to read from: beginning a read transaction costs more than a read.
struct Open {
    newest: Arc<Table>,
    database: Database,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

impl Open {
    fn new(database: Database) -> Result<Open, ::redb::Error> {
        let newest = match newest(&database) {
            Ok(newest) => newest,
            Err(::redb::Error::TableDoesNotExist(_)) => {
                let transaction = database.begin_write()?;
                transaction.open_table(TABLE)?;
                transaction.commit()?;
                newest(&database)?
            }
            Err(error) => return Err(error),
        };
        Ok(Open { newest, database })
    }
}

fn newest(database: &Database) -> Result<Arc<Table>, ::redb::Error> {
    Ok(Arc::new(database.begin_read()?.open_table(TABLE)?))
}

impl Pages {
    fn open(
        path: PathBuf,
        open: impl FnOnce(&Path) -> Result<Database, ::redb::DatabaseError>,
    ) -> Result<Pages, KvError> {
        let opened = opening(&path, || {
            let opened = open(&path).map_err(::redb::Error::from).and_then(Open::new);
            opened.map_err(|error| failed(&path, "open", error))
        })?;
        Ok(Pages {
            path,
            open: RwLock::new(Some(opened)),
            behind: AtomicBool::new(false),
            lock: None,
        })
    }

    fn newest(&self) -> Result<Arc<Table>, KvError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(|open| open.newest.clone()).ok_or_else(closed)
    }

    fn write(&self, writes: &Writes, durability: Durability) -> Result<(), ::redb::Error> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let database = &open.as_ref().ok_or(::redb::Error::DatabaseClosed)?.database;
        let mut transaction = database.begin_write()?;
        transaction.set_durability(match durability {
            Durability::Durable => ::redb::Durability::Immediate,
            Durability::Eventual => ::redb::Durability::None,
        })?;
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in writes {
            match value {
                Some(value) => drop(table.insert(&key[..], &value[..])?),
                None => drop(table.remove(&key[..])?),
            }
        }
        drop(table);
        transaction.commit()?;
        let newest = newest(database)?;
        drop(open);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.as_mut() {
            open.newest = newest;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, error: impl Into<::redb::Error>) -> KvError {
        failed(&self.path, action, error.into())
    }
}

impl Engine for Pages {
    const KIND: Kind = Kind::Redb;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        guarded(|| {
            let table = self.newest()?;
            let found = table.get(key).map_err(|error| self.failed("read", error))?;
            Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    fn range(&self, range: &Range, limit: usize) -> Result<Vec<Pair>, KvError> {
        use std::ops::Bound;
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return Ok(Vec::new());
        }
        guarded(|| {
            let bounds = (Bound::Included(&range.start[..]), end);
            let found = self.newest()?.range::<&[u8]>(bounds);
            // All in one piece of memory: thousands of small ones take longer to get than to fill.
            let (mut bytes, mut ends) = (BytesMut::new(), Vec::new());
            for pair in found.map_err(|error| self.failed("read", error))?.take(limit) {
                let (key, value) = pair.map_err(|error| self.failed("read", error))?;
                bytes.extend_from_slice(key.value());
                let middle = bytes.len();
                bytes.extend_from_slice(value.value());
                ends.push((middle, bytes.len()));
            }
            let (bytes, mut start) = (bytes.freeze(), 0);
            let pair = |(middle, end)| {
                let from = std::mem::replace(&mut start, end);
                Pair {
                    key: bytes.slice(from..middle),
                    value: bytes.slice(middle..end),
                }
            };
            Ok(ends.into_iter().map(pair).collect())
        })
    }

    fn apply(&self, writes: &Writes, durability: Durability) -> Result<(), KvError> {
        self.write(writes, durability)
            .map_err(|error| self.failed("write", error))?;
        let behind = durability == Durability::Eventual;
        self.behind.store(behind, Ordering::Relaxed);
        Ok(())
    }

    /// A durable commit is a flush, also of those before it that were not durable.
    fn flush(&self) -> Result<(), KvError> {
        if self.behind.load(Ordering::Relaxed) {
            self.apply(&Writes::new(), Durability::Durable)?;
        }
        Ok(())
    }

    fn size(&self) -> Result<u64, KvError> {
        let file = std::fs::metadata(&self.path).map_err(|error| io_error("measure", &error))?;
        Ok(std::os::unix::fs::MetadataExt::blocks(&file) * 512)
    }

    fn room(&self) -> u64 {
        lock::room(&self.path)
    }

    /// It takes no more after an error, so it is opened anew, as after a crash.
    fn recover(&self) -> bool {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        drop(open.take());
        let opened = guarded(|| {
            let opened = builder().open(&self.path).map_err(::redb::Error::from);
            opened
                .and_then(Open::new)
                .map_err(|error| self.failed("open", error))
        });
        match opened {
            Ok(opened) => *open = Some(opened),
            Err(error) => tracing::error!(%error, "cannot open the metadata again"),
        }
        open.is_some()
    }
}

fn closed() -> KvError {
    KvError::Stopped {
        reason: String::new(),
    }
}

fn failed(path: &Path, action: &'static str, error: ::redb::Error) -> KvError {
    match error {
        ::redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            damaged(path, error.to_string())
        }
        ::redb::Error::Io(error) => io_error(action, &error),
        error @ (::redb::Error::Corrupted(_)
        | ::redb::Error::UpgradeRequired(_)
        | ::redb::Error::RepairAborted) => damaged(path, error.to_string()),
        ::redb::Error::DatabaseAlreadyOpen => KvError::InUse {
            path: path.display().to_string(),
            holder: String::new(),
        },
        other => KvError::Io {
            action,
            reason: other.to_string(),
        },
    }
}
