//! The front door: a store on a folder that holds `blobs/` and `ingest/`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use transom_oci::Digest;

use crate::copies::{self, Copies};
use crate::folder::Folder;
use crate::inner::{Inner, is_absent};
use crate::lock::Phase;
use crate::status::{in_memory, read_status};
use crate::steps::Steps;
use crate::{
    Blob, Error, IngestOptions, Observer, Remote, Status, Statuses, SweepReport, Verify, Walk, Writer,
    ingest, layout, limits, sweep,
};

/// A content store. Cheap to clone; clones share their locks. Used from any number of threads.
///
/// Two stores on one folder, in one process or in several, may run beside each other: they see each other's refs as
/// [`Error::Locked`]. containerd itself takes no such lock, so it must not write to the same refs at the same time.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What is known of a blob without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The blob's name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was committed: the file's modification time.
    pub created: SystemTime,
    /// When it was last touched: the file's access time, as containerd has it.
    pub updated: SystemTime,
}

impl Store {
    /// Opens the store in `root`, which holds (or will hold) `blobs/` and `ingest/`; see
    /// [`content_root`](crate::content_root). Nothing is created before the first ingest.
    ///
    /// # Errors
    /// [`Error::Io`] if `root` is there and is not a folder, [`Error::OnRemote`] if its blobs are kept elsewhere.
    pub fn open(root: impl Into<PathBuf>) -> Result<Store, Error> {
        Store::with_steps(root.into(), Steps::default(), false, None)
    }

    /// As [`open`](Store::open), for the one store that takes ingests in this folder, as a daemon's that holds a lock on its root.
    /// Small ingests are kept in memory until they are committed or closed; another store does not see them until then, and a
    /// crash of the process takes them.
    ///
    /// # Errors
    /// As [`open`](Store::open).
    pub fn open_alone(root: impl Into<PathBuf>) -> Result<Store, Error> {
        Store::with_steps(root.into(), Steps::default(), true, None)
    }

    /// As [`open_alone`](Store::open_alone), with blobs that `remote` keeps. In the folder are ingests, and copies of at most about
    /// `copies` bytes together, however large a single one is. Blobs that are in the folder and not on the remote are brought there now.
    /// Which blobs there are is asked of the remote; what is changed there by others is seen for those of which there is no copy.
    ///
    /// # Errors
    /// [`Error::OtherRemote`] if the folder's blobs are on another remote, [`Error::Io`] of this one and of the folder.
    pub fn open_on(root: impl Into<PathBuf>, remote: Arc<dyn Remote>, copies: u64) -> Result<Store, Error> {
        let root = root.into();
        let copies = Copies::open(&root, remote, copies)?;
        Store::with_steps(root, Steps::default(), true, Some(copies))
    }

    /// As [`open`](Store::open), with an observer of each [`Step`](crate::Step); for tests of crashes, order and races.
    ///
    /// # Errors
    /// As [`open`](Store::open).
    pub fn open_observed(root: impl Into<PathBuf>, observer: Observer) -> Result<Store, Error> {
        Store::with_steps(root.into(), Steps(Some(observer)), false, None)
    }

    /// As [`open_alone`](Store::open_alone), with an observer as of [`open_observed`](Store::open_observed).
    ///
    /// # Errors
    /// As [`open`](Store::open).
    pub fn open_alone_observed(root: impl Into<PathBuf>, observer: Observer) -> Result<Store, Error> {
        Store::with_steps(root.into(), Steps(Some(observer)), true, None)
    }

    fn with_steps(root: PathBuf, steps: Steps, alone: bool, copies: Option<Copies>) -> Result<Store, Error> {
        match std::fs::metadata(&root) {
            Ok(found) if !found.is_dir() => {
                return Err(Error::io(
                    "open store",
                    &root,
                    io::Error::from(io::ErrorKind::NotADirectory),
                ));
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("open store", &root, e)),
            _ => {}
        }
        if copies.is_none()
            && let Some(has) = copies::remote_of(&root)?
        {
            return Err(Error::OnRemote { root, has });
        }
        let inner = Inner {
            root,
            locks: Arc::default(),
            steps,
            alone,
            copies,
            durable: Mutex::default(),
            flushes: Default::default(),
        };
        Ok(Store {
            inner: Arc::new(inner),
        })
    }

    /// The folder that holds `blobs/` and `ingest/`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Where the blob lies, whether it exists or not.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.inner.blob_path(digest)
    }

    /// Opens the ref for writing. What an earlier writer left is taken up again: its bytes are hashed, and
    /// [`Writer::offset`] says where to go on. It starts from 0 if the folder is not readable as this ref's, or if both
    /// times a total is given and they differ.
    ///
    /// # Errors
    /// [`Error::Locked`] if the ref is open elsewhere, [`Error::AlreadyExists`] if `expected` is given and there,
    /// [`Error::BadRef`], [`Error::Aborted`] if somebody aborts the ref meanwhile, [`Error::NoSpace`], [`Error::Io`].
    pub fn ingest(&self, reference: &str, options: IngestOptions) -> Result<Writer, Error> {
        self.ingest_watched(reference, options, |_, _| {})
    }

    /// As [`ingest`](Store::ingest); `progress` is told `(bytes hashed, bytes there)` while what is there is hashed again.
    ///
    /// # Errors
    /// As [`ingest`](Store::ingest).
    pub fn ingest_watched(
        &self,
        reference: &str,
        options: IngestOptions,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Writer, Error> {
        ingest::open(&self.inner, reference, options, &mut progress)
    }

    /// Removes an ingest and its data, also while a writer has it open: that writer gets [`Error::Aborted`] from its next
    /// call (in another process: from its commit or close). Waits for a commit or close of the ref that is under way in
    /// this store. The ref may be opened again as soon as this returns.
    ///
    /// # Errors
    /// [`Error::RefNotFound`] if there is no such ingest (any more), [`Error::Io`].
    pub fn abort(&self, reference: &str) -> Result<(), Error> {
        while let Some(held) = self.inner.locks.holder(reference) {
            let mut gate = held.gate();
            // A writer that has ended leaves the table before it opens the gate: look again.
            if *gate == Phase::Open {
                *gate = Phase::Aborted;
                let removed = self.inner.set_aside(reference);
                self.inner.locks.leave(&held);
                // Of one in memory there is nothing more to remove.
                return match removed {
                    Err(Error::RefNotFound { .. }) if held.live().memory.is_some() => Ok(()),
                    removed => removed,
                };
            }
        }
        self.inner.set_aside(reference)
    }

    /// As [`abort`](Store::abort), but leaves an ingest alone that a writer of this store has open.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open, [`Error::RefNotFound`] if there is no such ingest, [`Error::Io`].
    pub fn abort_unused(&self, reference: &str) -> Result<(), Error> {
        let _held = self.inner.locks.take(reference)?;
        self.inner.set_aside(reference)
    }

    /// How far an ingest is.
    ///
    /// # Errors
    /// [`Error::RefNotFound`] if there is no such ingest, [`Error::Io`].
    pub fn status(&self, reference: &str) -> Result<Status, Error> {
        let missing = || Error::RefNotFound {
            reference: reference.to_owned(),
        };
        if let Some(status) = self
            .inner
            .locks
            .holder(reference)
            .and_then(|held| in_memory(&held))
        {
            return Ok(status);
        }
        let path = self.inner.ingest_path(reference);
        let folder = match Folder::open(&path) {
            Ok(folder) => folder,
            Err(e) if is_absent(&e) => return Err(missing()),
            Err(e) => return Err(Error::io("open ingest", &path, e)),
        };
        let status =
            read_status(&folder, &self.inner.locks).map_err(|e| Error::io("read ingest", &path, e))?;
        status
            .filter(|status| status.reference == reference)
            .ok_or_else(missing)
    }

    /// The ingests whose ref `filter` accepts, one by one, in no order. What is not readable as an ingest is left out.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder of ingests cannot be read.
    pub fn statuses<F: FnMut(&str) -> bool>(&self, filter: F) -> Result<Statuses<F>, Error> {
        Statuses::new(&self.inner, filter)
    }

    /// Opens a blob for reading. It stays readable through this handle when it is deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`].
    pub fn reader(&self, digest: &Digest) -> Result<Blob, Error> {
        let Some(copies) = &self.inner.copies else {
            return self.reader_here(digest);
        };
        // Between fetching and opening, a copy may be let go for others; not for ever.
        for _ in 0..limits::FETCH_TRIES {
            match self.reader_here(digest) {
                Err(Error::NotFound { .. }) => copies.fetch(digest)?,
                found => {
                    copies.used(digest);
                    return found;
                }
            }
        }
        self.reader_here(digest)
    }

    fn reader_here(&self, digest: &Digest) -> Result<Blob, Error> {
        let path = self.blob_path(digest);
        // Not to hang on a pipe that somebody put there.
        let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = match OpenOptions::new().read(true).custom_flags(nonblock).open(&path) {
            Ok(file) => file,
            Err(e) if is_absent(&e) => {
                return Err(Error::NotFound {
                    digest: digest.clone(),
                });
            }
            Err(e) => return Err(Error::io("open blob", &path, e)),
        };
        blob(file, &path, digest)
    }

    /// Opens a blob if that needs no waiting for a disk, for a thread that must not wait. `None` says nothing: ask
    /// [`reader`](Store::reader).
    #[must_use]
    pub fn reader_at_once(&self, digest: &Digest) -> Option<Blob> {
        let path = self.blob_path(digest);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = openat2(CWD, &path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
        if let Some(copies) = &self.inner.copies {
            copies.used(digest);
        }
        blob(File::from(opened), &path, digest).ok()
    }

    /// Size and times of a blob.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`].
    pub fn info(&self, digest: &Digest) -> Result<Info, Error> {
        match self.inner.info(digest)? {
            Some(found) => Ok(found),
            None => Err(Error::NotFound {
                digest: digest.clone(),
            }),
        }
    }

    /// All blobs, one by one, in no order. Foreign files are left out.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder of blobs cannot be read.
    pub fn walk(&self) -> Result<Walk, Error> {
        match &self.inner.copies {
            Some(copies) => Walk::of_remote(&*copies.remote, &self.inner.root),
            None => Walk::new(&self.inner.root.join(layout::BLOBS)),
        }
    }

    /// Removes a blob. It may come back after a power cut: the removal is not waited for to reach the disk.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`].
    pub fn delete(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.blob_path(digest);
        if let Some(copies) = &self.inner.copies {
            copies.going(digest);
        }
        let mut there = match std::fs::remove_file(&path) {
            Err(e) if is_absent(&e) => false,
            Err(e) => return Err(Error::io("delete blob", &path, e)),
            Ok(()) => true,
        };
        if let Some(copies) = &self.inner.copies {
            let deleted = copies.remote.delete(digest);
            there |= deleted.map_err(|e| Error::io("delete the remote's", &path, e))?;
        }
        match there {
            true => Ok(()),
            false => Err(Error::NotFound {
                digest: digest.clone(),
            }),
        }
    }

    /// Hashes the given blobs, one by one as the iterator is asked.
    pub fn verify<I: IntoIterator<Item = Digest>>(&self, digests: I) -> Verify
    where
        I::IntoIter: Send + 'static,
    {
        Verify::new(self.clone(), digests.into_iter().map(Ok))
    }

    /// Hashes all blobs, one by one as the iterator is asked.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder of blobs cannot be read.
    pub fn verify_all(&self) -> Result<Verify, Error> {
        Ok(Verify::new(
            self.clone(),
            self.walk()?.map(|found| found.map(|info| info.digest)),
        ))
    }

    /// Removes what crashes left behind and nobody can take up again, if it was last changed at least `older_than` ago.
    /// Ingests that can be resumed are kept, as is whatever is in use. For the start of a daemon, `Duration::ZERO` is
    /// right if no containerd writes to the same folder.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read or a leftover cannot be removed.
    pub fn sweep(&self, older_than: Duration) -> Result<SweepReport, Error> {
        sweep::sweep(&self.inner, Some(older_than))
    }

    /// What a [`sweep`](Store::sweep) would find; changes nothing.
    ///
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read.
    pub fn survey(&self) -> Result<SweepReport, Error> {
        sweep::sweep(&self.inner, None)
    }

    /// Moves a damaged blob to `damaged/` beside `blobs/`, where nothing finds it and somebody can look at it; where it is
    /// then. One of the same name that is there already is replaced.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`].
    pub fn set_aside(&self, digest: &Digest) -> Result<PathBuf, Error> {
        let (from, folder) = (self.blob_path(digest), self.inner.root.join(layout::DAMAGED));
        let to = folder.join(format!("{}-{}", digest.algorithm(), digest.hex()));
        layout::make_folder(&folder).map_err(|e| Error::io("make folder", &folder, e))?;
        if let Some(copies) = &self.inner.copies {
            return copies.set_aside(digest, &to).map(|()| to);
        }
        match std::fs::rename(&from, &to) {
            Err(e) if is_absent(&e) => Err(Error::NotFound {
                digest: digest.clone(),
            }),
            other => other
                .map(|()| to)
                .map_err(|e| Error::io("set aside blob", &from, e)),
        }
    }
}

/// A file as a blob.
fn blob(file: File, path: &Path, digest: &Digest) -> Result<Blob, Error> {
    let found = file.metadata().map_err(|e| Error::io("open blob", path, e))?;
    if !found.is_file() {
        return Err(Error::NotFound {
            digest: digest.clone(),
        });
    }
    Ok(Blob::new(file, digest.clone(), found.len()))
}
