//! What crashes left behind: what can be taken up again is kept, what nobody can use is removed.

use std::fs::{DirEntry, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::folder::{Folder, remove_tree};
use crate::inner::{Inner, is_absent, seal};
use crate::layout::{BLOBS, DATA, TEMPORARY, ingest_name, is_aside_name, is_ingest_name};
use crate::walk::Walk;
use crate::{Error, limits};

/// What a sweep found and did.
#[derive(Debug, Default)]
pub struct SweepReport {
    /// Ingests that can be resumed (or are being written now).
    pub resumable: u64,
    /// Leftovers removed.
    pub removed: u64,
    /// Blobs that a crash had left writable, made read-only.
    pub sealed: u64,
    /// Leftovers left where they are; [`Found::action`] says why.
    pub kept: u64,
    /// Bytes of data that the removed ones had.
    pub bytes_freed: u64,
    /// The leftovers one by one: the first [`SWEEP_ENTRIES`](crate::limits::SWEEP_ENTRIES) of them.
    pub found: Vec<Found>,
}

/// A leftover.
#[derive(Debug)]
pub struct Found {
    /// The file or folder, below the store's root.
    pub path: PathBuf,
    /// What is the matter with it.
    pub reason: Reason,
    /// What was done with it.
    pub action: Action,
    /// Bytes of data in it.
    pub bytes: u64,
}

/// What is the matter with a leftover.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// An ingest folder that never got its ref: its writer died while opening.
    NoRef,
    /// An ingest folder whose ref is empty, too long or no text: a power cut came before it reached the disk.
    UnreadableRef,
    /// An ingest folder whose ref belongs to another folder: no writer would find it.
    Misnamed {
        /// The ref in it.
        reference: String,
    },
    /// An ingest folder without data: its writer died at the end of a commit, or before it had any.
    NoData,
    /// An ingest on its way out: somebody died while aborting it.
    Aborted,
    /// A metadata file that was being written, in an ingest that can be resumed.
    Temporary,
    /// A name that neither this store nor containerd gives.
    Foreign,
    /// A blob that was not made read-only: its writer died after the rename.
    Writable,
    /// A blob without bytes whose digest says that it should have some. [`Store::verify`](crate::Store::verify) reports it too; the
    /// next ingest that expects it replaces it.
    EmptyBlob,
}

/// What a sweep did with a leftover.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Removed it.
    Removed,
    /// Made it read-only.
    Sealed,
    /// Kept it: a writer has it open.
    InUse,
    /// Kept it: it was changed too lately.
    TooYoung,
    /// Kept it: it is not ours to remove, or nothing was to be removed.
    Left,
    /// Tried to remove it, in vain.
    Failed(Error),
}

/// With no age nothing is changed.
pub(crate) fn sweep(inner: &Inner, older_than: Option<Duration>) -> Result<SweepReport, Error> {
    let now = SystemTime::now();
    let mut sweep = Sweep {
        inner,
        now,
        older_than,
        report: SweepReport::default(),
    };
    let path = inner.ingests_path();
    match std::fs::read_dir(&path) {
        Ok(entries) => {
            for entry in entries {
                sweep.ingest(&entry.map_err(|e| Error::io("list", &path, e))?);
            }
        }
        Err(e) if is_absent(&e) => {}
        Err(e) => return Err(Error::io("list", &path, e)),
    }
    sweep.blobs()?;
    Ok(sweep.report)
}

struct Sweep<'a> {
    inner: &'a Inner,
    now: SystemTime,
    older_than: Option<Duration>,
    report: SweepReport,
}

impl Sweep<'_> {
    /// One entry of `ingest/`.
    fn ingest(&mut self, entry: &DirEntry) {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && is_aside_name(name) {
            let action = self.if_old(&path, |_| {
                remove_tree(&path).map_err(|e| Error::io("remove", &path, e))
            });
            self.note(&path, Reason::Aborted, action, 0);
        } else if is_folder && is_ingest_name(name) {
            match Folder::open(&path) {
                Ok(folder) => self.folder(&folder, name),
                // Gone since it was listed.
                Err(e) if is_absent(&e) => {}
                Err(e) => {
                    let error = Error::io("open ingest", &path, e);
                    self.note(&path, Reason::UnreadableRef, Action::Failed(error), 0);
                }
            }
        } else {
            self.note(&path, Reason::Foreign, Action::Left, 0);
        }
    }

    /// One ingest folder.
    fn folder(&mut self, folder: &Folder, name: &str) {
        if judge(folder, name).is_none() {
            self.report.resumable += 1;
            self.temporaries(folder);
            return;
        }
        match folder.try_lock() {
            Ok(true) => {}
            Ok(false) => {
                self.report.resumable += 1;
                return;
            }
            Err(e) => {
                let error = Error::io("lock", folder.path(), e);
                self.note(folder.path(), Reason::NoRef, Action::Failed(error), 0);
                return;
            }
        }
        // A writer may have come and gone before the lock was ours.
        if !folder.is_current().unwrap_or(false) {
            return;
        }
        let Some(reason) = judge(folder, name) else {
            self.report.resumable += 1;
            return;
        };
        let bytes = std::fs::symlink_metadata(folder.path().join(DATA)).map_or(0, |data| data.len());
        let inner = self.inner;
        let action = self.if_old(folder.path(), |path| inner.remove_folder(path).map(|_| ()));
        self.note(folder.path(), reason, action, bytes);
    }

    /// Half-written metadata files beside whole ones.
    fn temporaries(&mut self, folder: &Folder) {
        let Ok(entries) = std::fs::read_dir(folder.path()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.ends_with(TEMPORARY)) else {
                continue;
            };
            let path = entry.path();
            let action = match folder.try_lock() {
                Ok(true) => self.if_old(&path, |path| {
                    folder.unlink(name).map_err(|e| Error::io("remove", path, e))
                }),
                Ok(false) => Action::InUse,
                Err(e) => Action::Failed(Error::io("lock", folder.path(), e)),
            };
            self.note(&path, Reason::Temporary, action, 0);
        }
    }

    /// The blobs: their names and modes only; reading them is what verify is for.
    fn blobs(&mut self) -> Result<(), Error> {
        for info in Walk::new(&self.inner.root().join(BLOBS))? {
            let info = info?;
            let path = self.inner.blob_path(&info.digest);
            if !self.inner.has(&info.digest, None)? {
                self.note(&path, Reason::EmptyBlob, Action::Left, 0);
            }
            let writable = |found: std::fs::Metadata| found.mode() & 0o222 != 0;
            if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && writable(found)) {
                let action = match self
                    .older_than
                    .map(|_| File::open(&path).and_then(|file| seal(&file)))
                {
                    Some(Ok(())) => Action::Sealed,
                    Some(Err(e)) => Action::Failed(Error::io("make read-only", &path, e)),
                    None => Action::Left,
                };
                self.note(&path, Reason::Writable, action, 0);
            }
        }
        Ok(())
    }

    fn if_old(&self, path: &Path, remove: impl FnOnce(&Path) -> Result<(), Error>) -> Action {
        let Some(older_than) = self.older_than else {
            return Action::Left;
        };
        match last_change(path) {
            Ok(changed) if self.now.duration_since(changed).unwrap_or_default() < older_than => {
                Action::TooYoung
            }
            Err(e) if !is_absent(&e) => Action::Failed(Error::io("look at", path, e)),
            _ => match remove(path) {
                Ok(()) => Action::Removed,
                Err(e) => Action::Failed(e),
            },
        }
    }

    fn note(&mut self, path: &Path, reason: Reason, action: Action, bytes: u64) {
        match action {
            Action::Removed => {
                self.report.removed += 1;
                self.report.bytes_freed += bytes;
            }
            Action::Sealed => self.report.sealed += 1,
            _ => self.report.kept += 1,
        }
        if self.report.found.len() < limits::SWEEP_ENTRIES {
            let path = path.strip_prefix(self.inner.root()).unwrap_or(path).to_path_buf();
            self.report.found.push(Found {
                path,
                reason,
                action,
                bytes,
            });
        }
    }
}

/// Why nobody can take up this ingest; `None` if somebody can.
fn judge(folder: &Folder, name: &str) -> Option<Reason> {
    match folder.reference() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Some(Reason::NoRef),
        Err(_) => return Some(Reason::UnreadableRef),
        Ok(reference) if reference.is_empty() => return Some(Reason::UnreadableRef),
        Ok(reference) if ingest_name(&reference) != name => return Some(Reason::Misnamed { reference }),
        Ok(_) => {}
    }
    let data = std::fs::symlink_metadata(folder.path().join(DATA));
    (!data.is_ok_and(|data| data.is_file())).then_some(Reason::NoData)
}

/// When a file, or a folder and the files in it, last changed.
fn last_change(path: &Path) -> io::Result<SystemTime> {
    let found = std::fs::symlink_metadata(path)?;
    let mut newest = found.modified()?;
    if found.is_dir() {
        for entry in std::fs::read_dir(path)?.flatten() {
            newest = newest.max(entry.metadata()?.modified()?);
        }
    }
    Ok(newest)
}
