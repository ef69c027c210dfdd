//! Content that is being written: a file beside its later name, that a writer has locked.

use std::fs::File;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::{io, iter};

use bytes::Bytes;
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::content::{looked_up, name_now, open as open_content, place, place_all, record};
use super::flush::{self, Ticket};
use super::root::Root;
use super::{Filesystem, NAME, Step, failed, is_folder, not_found, upload_name};
use crate::driver::{Pending, WriteMode, Writer};
use crate::{Condition, Error, Put, StoragePath, limits};

/// An upload file, open and locked. Its clones in running calls keep the lock.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    file: Arc<Locked>,
    path: StoragePath,
}

/// A file with a lock, which goes with the writer; readers may have the file for longer.
#[derive(Debug)]
struct Locked(Arc<File>);

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing alone does not do: a child that is just being started has the descriptor, too, until it runs its own program.
        let _ = fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Opens or makes the upload file of a path, and says how many bytes are in it.
pub(super) fn open(root: &Root, path: &StoragePath, mode: WriteMode) -> Result<(Upload, u64), Error> {
    path.not_root()?;
    match super::content::stat(root, path) {
        // One that holds nothing but old folders would be in the way at the commit only.
        Ok(found) if found.is_folder() && !super::content::list(root, path)?.is_empty() => {
            return Err(is_folder(path));
        }
        Ok(_) | Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut tries = 0;
    loop {
        match try_open(root, path, mode)? {
            Some(file) => return start(file, path, mode),
            None if tries < limits::MAKE_TRIES => tries += 1,
            None => return Err(busy(path)),
        }
    }
}

fn start(file: File, path: &StoragePath, mode: WriteMode) -> Result<(Upload, u64), Error> {
    let failed = |error| Error::io(NAME.into(), "open", path, error);
    let size = match mode {
        WriteMode::Create => file.set_len(0).map(|()| 0).map_err(failed)?,
        WriteMode::Append => file.metadata().map_err(failed)?.len(),
    };
    let upload = Upload {
        file: Arc::new(Locked(Arc::new(file))),
        path: path.clone(),
    };
    Ok((upload, size))
}

/// The upload file, locked; `None` if it lost its name on the way, which can be tried again.
fn try_open(root: &Root, path: &StoragePath, mode: WriteMode) -> Result<Option<File>, Error> {
    let name = upload_name(path);
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (parent, flags) = match mode {
        WriteMode::Create => (root.make_parent(path), flags | OFlags::CREATE),
        WriteMode::Append => (root.parent(path), flags),
    };
    let parent = parent.map_err(match mode {
        WriteMode::Create => Box::new(failed("make the folder of", path)) as Box<dyn Fn(Errno) -> Error>,
        WriteMode::Append => Box::new(looked_up("open the folder of", path)),
    })?;
    let fd = match fs::openat(&parent, &name, flags, Mode::from_bits_retain(0o666)) {
        // The folder was removed in between.
        Err(Errno::NOENT) if mode == WriteMode::Create => return Ok(None),
        Err(Errno::NOENT) => return copy_content(root, path, &parent, &name),
        other => other.map_err(failed("open", path))?,
    };
    lock(&fd, path)?;
    let file = File::from(fd);
    Ok(is_named(&file, &parent, &name).then_some(file))
}

fn lock(fd: &OwnedFd, path: &StoragePath) -> Result<(), Error> {
    match fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(busy(path)),
        other => other.map_err(failed("lock", path)),
    }
}

/// An upload that begins with the committed content.
fn copy_content(
    root: &Root,
    path: &StoragePath,
    parent: &OwnedFd,
    name: &str,
) -> Result<Option<File>, Error> {
    let (mut content, _) = open_content(root, path)?;
    let temporaries = root.temporary_folder().map_err(failed("copy", path))?;
    let (mut copy, temporary) = root.temporary_file(&temporaries).map_err(failed("copy", path))?;
    let copied = match fs::ioctl_ficlone(&copy, &content) {
        Ok(()) => Ok(()),
        // Not every file system shares blocks.
        Err(_) => io::copy(&mut content, &mut copy).map(drop),
    };
    let placed = copied
        .map_err(|error| Error::io(NAME.into(), "copy", path, error))
        .and_then(|()| {
            let locked = fs::flock(&copy, FlockOperation::NonBlockingLockExclusive);
            locked.map_err(failed("lock", path))?;
            match fs::renameat_with(&temporaries, &temporary, parent, name, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS) => {
                    fs::linkat(&temporaries, &temporary, parent, name, AtFlags::empty())
                        .and_then(|()| fs::unlinkat(&temporaries, &temporary, AtFlags::empty()))
                }
                other => other,
            }
            .map(|()| true)
            .or_else(|errno| match errno {
                // Another writer began meanwhile.
                Errno::EXIST => Ok(false),
                errno => Err(failed("copy", path)(errno)),
            })
        });
    if !matches!(placed, Ok(true)) {
        let _ = fs::unlinkat(&temporaries, &temporary, AtFlags::empty());
    }
    Ok(placed?.then_some(copy))
}

/// Whether the file still has its name: it may have been committed, cancelled or deleted before it was locked.
fn is_named(file: &File, parent: &OwnedFd, name: &str) -> bool {
    let named = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    let same =
        |named: fs::Stat| fs::fstat(file).map(|own| (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino));
    named.and_then(same).unwrap_or(false)
}

impl Upload {
    /// Writes at `offset`; if that fails half-way, the file is again as long as before.
    fn write(&self, root: &Root, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let failed = |error| Error::io(NAME.into(), "write", &self.path, error);
        if let Err(error) = self.file.write_all_at(bytes, offset) {
            self.file.set_len(offset).map_err(failed)?;
            return Err(failed(error));
        }
        root.steps.reached(Step::UploadWritten);
        Ok(())
    }

    /// Lets the disk begin with what has been written, once that is much: whoever flushes then has little left to wait for. Gives
    /// how far it has begun. Nothing depends on it.
    fn write_back(&self, from: u64, to: u64) -> u64 {
        if to.saturating_sub(from) < limits::WRITE_BACK_BYTES {
            return from;
        }
        drop(transom_sys::write_back(&self.file, from, to - from));
        to
    }

    fn sync(&self, root: &Root) -> Result<(), Error> {
        let failed = |error| Error::io(NAME.into(), "sync", &self.path, error);
        root.sync_file(&self.file).map_err(failed)?;
        root.steps.reached(Step::UploadSynced);
        Ok(())
    }

    /// Gives the file its name, which is not on the disk yet.
    fn commit(&self, root: &Root, to: &StoragePath) -> Result<Ticket, Error> {
        to.not_root()?;
        self.sync(root)?;
        let (parent, name) = self.named(root)?;
        let target = match to == &self.path {
            true => None,
            false => Some(root.make_parent(to).map_err(failed("make the folder of", to))?),
        };
        let target = target.as_ref().unwrap_or(&parent);
        place(&parent, &name, target, to, Condition::Always)?;
        root.steps.reached(Step::Renamed);
        Ok(root.changed(to, target))
    }

    /// The same by the journal, with others; `false` if that cannot be now.
    fn commit_journaled(
        &self,
        root: &Root,
        size: u64,
        to: &StoragePath,
        others: &[Put],
    ) -> Result<bool, Error> {
        let (parent, name) = self.named(root)?;
        let mut content = vec![0; size as usize];
        let read = self.file.read_exact_at(&mut content, 0);
        read.map_err(|error| Error::io(NAME.into(), "read", &self.path, error))?;
        let blob = Put {
            path: to.clone(),
            content: content.into(),
        };
        let puts: Vec<Put> = iter::once(blob).chain(others.iter().cloned()).collect();
        let Some(record) = record(root, &puts)? else {
            return Ok(false);
        };
        let target = root.make_parent(to).map_err(failed("make the folder of", to))?;
        place(&parent, &name, &target, to, Condition::Always)?;
        root.steps.reached(Step::Renamed);
        for put in others {
            name_now(root, put)?;
        }
        record.placed();
        Ok(true)
    }

    fn close(&self, root: &Root) -> Result<Ticket, Error> {
        self.sync(root)?;
        let (parent, _) = self.named(root)?;
        Ok(root.changed(&self.path, &parent))
    }

    fn cancel(&self, root: &Root) -> Result<(), Error> {
        let (parent, name) = match self.named(root) {
            // Somebody else deleted it.
            Err(Error::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        fs::unlinkat(&parent, &name, AtFlags::empty()).map_err(failed("cancel", &self.path))
    }

    /// The folder where the upload file is, and its name; an error if it is there no more.
    fn named(&self, root: &Root) -> Result<(OwnedFd, String), Error> {
        let parent = root
            .parent(&self.path)
            .map_err(looked_up("open the folder of", &self.path))?;
        let name = upload_name(&self.path);
        if !is_named(&self.file, &parent, &name) {
            return Err(not_found(&self.path));
        }
        Ok((parent, name))
    }
}

/// The writer of an upload file.
#[derive(Debug)]
pub(super) struct FileWriter {
    driver: Filesystem,
    upload: Upload,
    size: u64,
    /// How far the disk was told to begin.
    written_back: u64,
    /// A write is under way, or was dropped on its way.
    writing: bool,
}

impl FileWriter {
    pub(super) fn new(driver: Filesystem, upload: Upload, size: u64) -> FileWriter {
        FileWriter {
            driver,
            upload,
            size,
            written_back: size,
            writing: false,
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.writing {
            let (driver, path) = (NAME.into(), self.upload.path.clone());
            return Err(Error::Interrupted { driver, path });
        }
        Ok(())
    }

    /// Commits by the journal, if that can be; says whether it is done.
    async fn journaled(&self, to: &StoragePath, others: &[Put]) -> Result<bool, Error> {
        self.check()?;
        // It is read into memory.
        if self.size > limits::JOURNAL_RECORD_BYTES {
            return Ok(false);
        }
        let (upload, size, to) = (self.upload.clone(), self.size, to.clone());
        let job = move |root: &Root, others: &[Put]| upload.commit_journaled(root, size, &to, others);
        Ok(self.driver.journaled(others.to_vec(), job).await?.is_none())
    }

    /// Runs the last call of this writer.
    fn end(
        self: Box<Self>,
        job: impl FnOnce(&Upload, &Root) -> Result<Vec<Ticket>, Error> + Send + 'static,
    ) -> Pending<'static, ()> {
        Box::pin(async move {
            self.check()?;
            let upload = self.upload;
            flush::written(&self.driver.root).await?;
            self.driver.change(move |root| job(&upload, root)).await
        })
    }
}

impl Writer for FileWriter {
    fn size(&self) -> u64 {
        self.size
    }

    fn file(&self) -> Option<Arc<File>> {
        Some(Arc::clone(&self.upload.file.0))
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            self.check()?;
            self.writing = true;
            let (upload, offset, length) = (self.upload.clone(), self.size, bytes.len() as u64);
            let begun = self.written_back;
            let result = self.driver.run(move |root| {
                upload.write(root, &bytes, offset)?;
                Ok(upload.write_back(begun, offset + length))
            });
            let result = result.await;
            self.writing = false;
            self.written_back = result?;
            self.size += length;
            Ok(())
        })
    }

    fn commit(self: Box<Self>) -> Pending<'static, ()> {
        let path = self.upload.path.clone();
        self.commit_to(&path)
    }

    fn commit_to(self: Box<Self>, to: &StoragePath) -> Pending<'static, ()> {
        let to = to.clone();
        Box::pin(async move {
            match self.journaled(&to, &[]).await? {
                true => Ok(()),
                false => {
                    self.end(move |upload, root| Ok(vec![upload.commit(root, &to)?]))
                        .await
                }
            }
        })
    }

    fn commit_with(self: Box<Self>, to: &StoragePath, others: Vec<Put>) -> Pending<'static, Vec<Put>> {
        let to = to.clone();
        Box::pin(async move {
            if self.journaled(&to, &others).await? {
                return Ok(Vec::new());
            }
            let staged = self.driver.stage(others).await?;
            let committed = self.end(move |upload, root| {
                let mut tickets = vec![upload.commit(root, &to)?];
                tickets.extend(place_all(root, staged, Condition::Always)?);
                Ok(tickets)
            });
            committed.await.map(|()| Vec::new())
        })
    }

    fn close(self: Box<Self>) -> Pending<'static, ()> {
        self.end(|upload, root| Ok(vec![upload.close(root)?]))
    }

    fn cancel(self: Box<Self>) -> Pending<'static, ()> {
        let (upload, driver) = (self.upload, self.driver);
        Box::pin(async move { driver.run(move |root| upload.cancel(root)).await })
    }
}

fn busy(path: &StoragePath) -> Error {
    let (driver, path) = (NAME.into(), path.clone());
    Error::Busy { driver, path }
}
