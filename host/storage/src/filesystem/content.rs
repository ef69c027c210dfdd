//! Looking at content and changing it in one step: what the driver's calls do on the thread that may wait for the disk.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::{self, AtFlags, Dir, FileType, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::flush::Ticket;
use super::journal::{self, Record};
use super::root::Root;
use super::{NAME, Step, failed, is_folder, not_folder, not_found, upload_name};
use crate::path::is_name;
use crate::{Condition, Entry, Error, Kind, Put, StoragePath, limits};

/// Opens content to read it.
pub(super) fn open(root: &Root, path: &StoragePath) -> Result<(File, Entry), Error> {
    path.not_root()?;
    // Without NONBLOCK, a pipe that somebody put there would hold the thread.
    let fd = root
        .open_at(path, OFlags::RDONLY | OFlags::NONBLOCK)
        .map_err(looked_up("open", path))?;
    let stat = fs::fstat(&fd).map_err(failed("look at", path))?;
    match entry(path.clone(), &stat) {
        Some(entry) if !entry.is_folder() => Ok((File::from(fd), entry)),
        Some(_) => Err(is_folder(path)),
        None => Err(not_found(path)),
    }
}

/// The whole content, of `limit` bytes at most.
pub(super) fn get(root: &Root, path: &StoragePath, limit: u64) -> Result<Bytes, Error> {
    let (file, entry) = open(root, path)?;
    if entry.size() > limit {
        let (driver, path) = (NAME.into(), path.clone());
        return Err(Error::TooLarge { driver, path, limit });
    }
    let mut content = Vec::with_capacity(entry.size() as usize);
    file.take(entry.size())
        .read_to_end(&mut content)
        .map_err(|error| Error::io(NAME.into(), "read", path, error))?;
    Ok(content.into())
}

/// What is at a path.
pub(super) fn stat(root: &Root, path: &StoragePath) -> Result<Entry, Error> {
    let fd = root
        .open_at(path, OFlags::PATH)
        .map_err(looked_up("look at", path))?;
    let stat = fs::fstat(&fd).map_err(failed("look at", path))?;
    entry(path.clone(), &stat).ok_or_else(|| not_found(path))
}

/// What is in a folder, by name. What no path leads to is left out: files of this driver, and of others.
pub(super) fn list(root: &Root, folder: &StoragePath) -> Result<Vec<Entry>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let fd = match root.open_at(folder, flags) {
        Err(Errno::NOTDIR) => {
            // It is content, or something above it is.
            stat(root, folder)?;
            return Err(not_folder(folder));
        }
        other => other.map_err(failed("open", folder))?,
    };
    let mut entries = Vec::new();
    for found in Dir::read_from(&fd).map_err(failed("list", folder))? {
        let found = found.map_err(failed("list", folder))?;
        let name = found.file_name().to_str().unwrap_or_default();
        if !is_name(name) {
            continue;
        }
        // `.`, `..`, and what is longer than paths may be.
        let Ok(path) = folder.join(name) else {
            continue;
        };
        match look(root, &fd, path) {
            Ok(entry) => entries.extend(entry),
            // Removed since its name was read, or a link that leads nowhere.
            Err(Error::NotFound { .. } | Error::Denied { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn look(root: &Root, folder: &OwnedFd, path: StoragePath) -> Result<Option<Entry>, Error> {
    let found =
        fs::statat(folder, path.name(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed("look at", &path))?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
        return stat(root, &path).map(Some);
    }
    Ok(entry(path, &found))
}

/// A temporary file with content that is on its way to a path. It is removed if it does not get there.
#[derive(Debug)]
pub(super) struct Staged {
    path: StoragePath,
    file: File,
    folder: OwnedFd,
    name: String,
    placed: bool,
}

/// Writes contents to temporary files.
pub(super) fn stage_all(root: &Root, puts: Vec<Put>) -> Result<Vec<Staged>, Error> {
    puts.into_iter()
        .map(|put| stage(root, put.path, &put.content))
        .collect()
}

/// Places them one after the other.
pub(super) fn place_all(
    root: &Root,
    staged: Vec<Staged>,
    condition: Condition,
) -> Result<Vec<Ticket>, Error> {
    for staged in &staged {
        staged.sync(root)?;
    }
    staged
        .into_iter()
        .map(|staged| staged.place(root, condition))
        .collect()
}

fn stage(root: &Root, path: StoragePath, content: &[u8]) -> Result<Staged, Error> {
    path.not_root()?;
    let folder = root
        .temporary_folder()
        .map_err(failed("make the folder of temporary files for", &path))?;
    let (file, name) = root
        .temporary_file(&folder)
        .map_err(failed("make a temporary file for", &path))?;
    let staged = Staged {
        path,
        file,
        folder,
        name,
        placed: false,
    };
    let written = staged.file.write_all_at(content, 0);
    written.map_err(|error| Error::io(NAME.into(), "write", &staged.path, error))?;
    root.steps.reached(Step::TemporaryWritten);
    Ok(staged)
}

/// Sets contents by the journal; `false` if that cannot be now.
pub(super) fn put_journaled(root: &Root, puts: &[Put]) -> Result<bool, Error> {
    let Some(record) = record(root, puts)? else {
        return Ok(false);
    };
    for put in puts {
        name_now(root, put)?;
    }
    record.placed();
    Ok(true)
}

/// Sets content that is in the journal.
pub(super) fn name_now(root: &Root, put: &Put) -> Result<(), Error> {
    let staged = stage(root, put.path.clone(), &put.content)?;
    staged.name(root, Condition::Always).map(drop)
}

/// Writes down what is to be set, if that can be now: everything on the file system that the journal's trips bring to the disk.
pub(super) fn record<'r>(root: &'r Root, puts: &[Put]) -> Result<Option<Record<'r>>, Error> {
    let Some(journal) = root.journal.as_ref().filter(|journal| journal.takes(puts)) else {
        return Ok(None);
    };
    for put in puts {
        put.path.not_root()?;
        let parent = root
            .make_parent(&put.path)
            .map_err(failed("make the folder of", &put.path))?;
        if !root.is_whole(fs::fstat(parent)) {
            return Ok(None);
        }
    }
    Ok(journal.write(puts))
}

/// Sets content, whose bytes are on the disk when this returns, and whose name is not.
pub(super) fn set(root: &Root, put: Put) -> Result<(), Error> {
    let staged = stage(root, put.path, &put.content)?;
    let synced = staged.file.sync_all();
    synced.map_err(|error| Error::io(NAME.into(), "sync", &staged.path, error))?;
    staged.name(root, Condition::Always).map(drop)
}

impl Staged {
    /// Sees that the content is on the disk.
    fn sync(&self, root: &Root) -> Result<(), Error> {
        let synced = root.sync_file(&self.file);
        synced.map_err(|error| Error::io(NAME.into(), "sync", &self.path, error))?;
        root.steps.reached(Step::TemporarySynced);
        Ok(())
    }

    /// Gives the file its name, which is not on the disk yet.
    fn place(self, root: &Root, condition: Condition) -> Result<Ticket, Error> {
        let path = self.path.clone();
        let parent = self.name(root, condition)?;
        Ok(root.changed(&path, &parent))
    }

    /// The same, for whoever sees to the disk; gives the folder.
    fn name(mut self, root: &Root, condition: Condition) -> Result<OwnedFd, Error> {
        let path = &self.path;
        let parent = root
            .make_parent(path)
            .map_err(failed("make the folder of", path))?;
        place(&self.folder, &self.name, &parent, path, condition)?;
        self.placed = true;
        root.steps.reached(Step::Renamed);
        Ok(parent)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            // The sweep at the next start takes what cannot be removed here.
            let _ = fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Gives a file the name of `path`, in one step.
pub(super) fn place(
    from: &OwnedFd,
    name: &str,
    parent: &OwnedFd,
    path: &StoragePath,
    condition: Condition,
) -> Result<(), Error> {
    let rename = || match condition {
        Condition::Always => fs::renameat(from, name, parent, path.name()),
        Condition::Absent => match fs::renameat_with(from, name, parent, path.name(), RenameFlags::NOREPLACE)
        {
            // Not every file system can; a link is never made over another name either.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::linkat(from, name, parent, path.name(), AtFlags::empty())?;
                fs::unlinkat(from, name, AtFlags::empty())
            }
            other => other,
        },
    };
    let result = match rename() {
        // A folder that holds nothing is not one.
        Err(Errno::ISDIR | Errno::EXIST) if remove_empty_folder(parent, path.name()) => rename(),
        other => other,
    };
    result.map_err(|errno| match errno {
        Errno::EXIST if !is_folder_at(parent, path.name()) => {
            let (driver, path) = (NAME.into(), path.clone());
            Error::AlreadyExists { driver, path }
        }
        Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY => is_folder(path),
        errno => failed("rename a file to", path)(errno),
    })
}

fn remove_empty_folder(parent: &OwnedFd, name: &str) -> bool {
    fs::unlinkat(parent, name, AtFlags::REMOVEDIR).is_ok()
}

fn is_folder_at(parent: &OwnedFd, name: &str) -> bool {
    fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Moves content. Its old name needs no sync of its own: a rename is one change of the file system.
pub(super) fn rename(root: &Root, from: &StoragePath, to: &StoragePath) -> Result<Vec<Ticket>, Error> {
    from.not_root()?;
    to.not_root()?;
    if stat(root, from)?.is_folder() {
        return Err(is_folder(from));
    }
    if from == to {
        return Ok(Vec::new());
    }
    let source = root.parent(from).map_err(looked_up("open the folder of", from))?;
    let target = root.make_parent(to).map_err(failed("make the folder of", to))?;
    place(&source, from.name(), &target, to, Condition::Always).map_err(|error| match error {
        // It was there a moment ago.
        Error::NotFound { .. } => not_found(from),
        error => error,
    })?;
    root.steps.reached(Step::Renamed);
    Ok(vec![root.changed(to, &target)])
}

/// A folder that nobody sees any more, and that is to be removed.
#[derive(Debug)]
pub(super) struct Aside {
    folder: OwnedFd,
    name: String,
    path: StoragePath,
}

/// Deletes content, or takes a folder aside, and deletes what was written and not committed.
pub(super) fn delete(root: &Root, path: &StoragePath) -> Result<(Ticket, Option<Aside>), Error> {
    path.not_root()?;
    let parent = root.parent(path).map_err(looked_up("open the folder of", path))?;
    let upload = fs::unlinkat(&parent, upload_name(path), AtFlags::empty());
    let aside = match fs::unlinkat(&parent, path.name(), AtFlags::empty()) {
        Ok(()) => None,
        Err(Errno::ISDIR | Errno::PERM) => Some(set_aside(root, &parent, path)?),
        Err(Errno::NOENT) if upload.is_ok() => None,
        Err(errno) => return Err(failed("delete", path)(errno)),
    };
    Ok((root.changed(path, &parent), aside))
}

/// Removes a folder that was taken aside, when nothing can bring it back any more.
pub(super) fn remove(aside: &Aside) -> Result<(), Error> {
    let failed = |error| Error::io(NAME.into(), "delete", &aside.path, error);
    remove_tree(&aside.folder, &aside.name).map_err(failed)
}

/// Takes a folder away in one step, so that nobody sees half of it.
fn set_aside(root: &Root, parent: &OwnedFd, path: &StoragePath) -> Result<Aside, Error> {
    let failed = failed("delete", path);
    let temporaries = root.temporary_folder().map_err(&failed)?;
    let name = root.temporary_name();
    fs::renameat(parent, path.name(), &temporaries, &name).map_err(&failed)?;
    root.steps.reached(Step::SetAside);
    Ok(Aside {
        folder: temporaries,
        name,
        path: path.clone(),
    })
}

/// Removes a folder and all that is in it, also if a writer that does not know yet puts something there meanwhile.
fn remove_tree(folder: &OwnedFd, name: &str) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}/{name}", folder.as_fd().as_raw_fd());
    let mut tries = 0;
    loop {
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error)
                if error.kind() == std::io::ErrorKind::DirectoryNotEmpty && tries < limits::MAKE_TRIES =>
            {
                tries += 1;
            }
            other => return other,
        }
    }
}

/// Removes what a crash left: folders that were to be deleted, and temporary files older than `age` (younger ones may be
/// another process's). What cannot be removed stays for the next time.
pub(super) fn sweep(root: &Root, age: Duration) -> rustix::io::Result<()> {
    let folder = root.temporary_folder()?;
    for found in Dir::read_from(&folder)?.flatten() {
        let name = found.file_name().to_str().unwrap_or_default();
        if matches!(name, "" | "." | "..") || name.starts_with(journal::NAMES) {
            continue;
        }
        let stat = fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let removed = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => remove_tree(&folder, name),
            _ if older(&stat, age) => fs::unlinkat(&folder, name, AtFlags::empty()).map_err(Into::into),
            _ => Ok(()),
        };
        if let Err(error) = removed {
            tracing::warn!(name, %error, "cannot remove what an earlier process left");
        }
    }
    Ok(())
}

fn older(stat: &Stat, age: Duration) -> bool {
    modified(stat)
        .and_then(|time| time.elapsed().ok())
        .is_some_and(|elapsed| elapsed > age)
}

/// Content or a folder; `None` for a pipe, a socket or a device.
fn entry(path: StoragePath, stat: &Stat) -> Option<Entry> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File {
            size: stat.st_size.unsigned_abs(),
            modified: modified(stat),
        },
        FileType::Directory => Kind::Folder,
        _ => return None,
    };
    Some(Entry { path, kind })
}

fn modified(stat: &Stat) -> Option<SystemTime> {
    let since = Duration::new(
        u64::try_from(stat.st_mtime).ok()?,
        u32::try_from(stat.st_mtime_nsec).ok()?,
    );
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Nothing can be below content: whoever looks there finds nothing.
pub(super) fn looked_up(doing: &'static str, path: &StoragePath) -> impl Fn(Errno) -> Error {
    let path = path.clone();
    move |errno| match errno {
        Errno::NOTDIR => not_found(&path),
        errno => failed(doing, &path)(errno),
    }
}
