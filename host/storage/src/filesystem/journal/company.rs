//! Other processes that work in the same folder, and what the next start makes good.
//!
//! Each driver has a journal's file `~transom/journal-…`, locked as long as it lives: so the others see that it is there. The lock of
//! the folder `~transom` is the door: whoever comes holds it alone while it makes its file, and a driver with records holds it
//! together with nobody until they are retired.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::fs::{self, AtFlags, Dir, FlockOperation, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::super::content;
use super::super::root::Root;
use super::format;
use crate::limits::{JOURNAL_DOOR, JOURNAL_DOOR_RETRY};
use crate::{Error, Put};

/// What the names of journals begin with.
pub(in crate::filesystem) const NAMES: &str = "journal-";

/// `statx(2)` of Linux 6.8: a number that no other mount has had since the machine was started.
const MOUNT_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// A driver among those that work in a folder.
#[derive(Debug)]
pub(in crate::filesystem) struct Company {
    /// The folder `~transom`, opened for this lock alone.
    door: OwnedFd,
    /// The name of its journal.
    name: String,
}

impl Company {
    /// Comes in: waits until no other process has records that count, makes good what dead ones left, and is seen by the others.
    /// Gives the file for its journal, too. On a full disk it stands in the door as long as it lives instead of having a file.
    pub(in crate::filesystem) fn join(root: &Root) -> io::Result<(Company, Option<File>)> {
        let door = root.temporary_folder()?;
        wait_at(&door)?;
        let left = files(&door)?;
        for name in left {
            if let Some(file) = dead(&door, &name)? {
                make_good(root, &file, &door).inspect_err(|error| {
                    tracing::error!(journal = name, %error, "cannot make good what a power cut took");
                })?;
                fs::unlinkat(&door, &name, AtFlags::empty())?;
            }
        }
        let name = format!("{NAMES}{}", root.temporary_name());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = match fs::openat(&door, &name, flags, Mode::from_bits_retain(0o600)) {
            Err(Errno::NOSPC | Errno::DQUOT) => {
                fs::flock(&door, FlockOperation::NonBlockingLockShared)?;
                return Ok((Company { door, name }, None));
            }
            other => File::from(other?),
        };
        fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        fs::flock(&door, FlockOperation::Unlock)?;
        Ok((Company { door, name }, Some(file)))
    }

    /// Keeps others from coming in; says whether this is the only one here.
    pub(super) fn shut(&self) -> bool {
        if fs::flock(&self.door, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        let alone = files(&self.door).is_ok_and(|names| {
            let mut others = names.iter().filter(|name| **name != self.name);
            others.all(|name| matches!(dead(&self.door, name), Ok(Some(_))))
        });
        if !alone {
            self.open();
        }
        alone
    }

    /// Lets others in.
    pub(super) fn open(&self) {
        if let Err(error) = fs::flock(&self.door, FlockOperation::Unlock) {
            tracing::warn!(%error, "cannot let other processes into the folder");
        }
    }

    /// Removes the file.
    pub(super) fn leave(&self) {
        // The next one to come takes what cannot be removed here.
        let _ = fs::unlinkat(&self.door, &self.name, AtFlags::empty());
    }
}

/// What stays the same as long as nothing that was written is lost: this start of the machine, and this mount. Empty if it
/// cannot be told.
pub(super) fn place(file: &File) -> Vec<u8> {
    let start = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let found = fs::statx(file, "", AtFlags::EMPTY_PATH, MOUNT_UNIQUE);
    match found {
        Ok(found) if found.stx_mask & MOUNT_UNIQUE.bits() != 0 && !start.is_empty() => {
            [&start[..], &found.stx_mnt_id.to_le_bytes()].concat()
        }
        _ => Vec::new(),
    }
}

fn wait_at(door: &OwnedFd) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match fs::flock(door, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if begun.elapsed() < JOURNAL_DOOR => {
                std::thread::sleep(JOURNAL_DOOR_RETRY);
            }
            Err(Errno::WOULDBLOCK) => {
                let reason = "another process holds its folder `~transom` locked and does not go on";
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            other => return Ok(other?),
        }
    }
}

/// The journals in the folder.
fn files(folder: &OwnedFd) -> rustix::io::Result<Vec<String>> {
    let found = Dir::read_from(folder)?.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().to_str().ok()?;
        name.starts_with(NAMES).then(|| name.to_owned())
    });
    Ok(found.collect())
}

/// A journal, if nobody has it any more.
fn dead(folder: &OwnedFd, name: &str) -> io::Result<Option<File>> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match fs::openat(folder, name, flags, Mode::empty()) {
        // Its driver was closed a moment ago.
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(File::from(file))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Sees that everything which a journal counts on is on the disk.
fn make_good(root: &Root, journal: &File, folder: &OwnedFd) -> io::Result<()> {
    let Some((header, records)) = format::read(journal)? else {
        return Ok(());
    };
    // Without a power cut the files are as that process left them, and others may have changed them since.
    let kept = !header.place.is_empty() && header.place == place(journal);
    if !kept {
        let count = records.len();
        for put in records.into_iter().flatten() {
            set(root, put).map_err(io::Error::other)?;
        }
        if count > 0 {
            tracing::info!(changes = count, "made good what a power cut may have taken");
        }
    }
    Ok(fs::syncfs(folder)?)
}

fn set(root: &Root, put: Put) -> Result<(), Error> {
    if content::get(root, &put.path, put.content.len() as u64).is_ok_and(|found| found == put.content) {
        return Ok(());
    }
    match content::set(root, put) {
        // Somebody else has put something there, whose change came to the disk.
        Err(Error::IsFolder { path, .. } | Error::NotFolder { path, .. }) => {
            tracing::warn!(%path, "left as it is: a folder is where content was, or the other way round");
            Ok(())
        }
        other => other,
    }
}
