//! Creating one entry, by its kind.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::rc::Rc;

use transom_sys::{Errno, FileType, OFlags, Sys};

use super::attributes::{Actual, Target, Wanted};
use super::error::ApplyError;
use super::folders::{Folder, SETGID};
use super::later::Finish;
use super::name::split;
use super::worker::{Place, Worker};
use crate::tar::{Entry, EntryKind, Reader};

/// The bits of a mode that creating a file gives for sure.
const PERMISSIONS: u32 = 0o777;

/// What a folder's owner needs to create something in it.
const OWNER_ALL: u32 = 0o700;

/// The largest device numbers that Linux keeps: twelve and twenty bits. It would cut larger ones off without a word, and
/// make another device.
const MAJOR_MAX: i64 = 0xfff;
const MINOR_MAX: i64 = 0xf_ffff;

impl<'a, S: Sys> Worker<'a, S> {
    /// Makes something new, after removing what is in its way.
    fn make<T>(
        &mut self,
        place: &Place<'_, '_>,
        action: &'static str,
        make: impl Fn(&S, BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, ApplyError> {
        let made = match make(self.sys, place.dir(), place.base) {
            Err(Errno::EXIST) => {
                self.clear_away(place)?;
                make(self.sys, place.dir(), place.base)
            }
            other => other,
        };
        made.map_err(place.cannot(action))
    }

    /// What something just created with `mode` is like. On the first one it is checked that the file system does as
    /// expected, which some do not (a `grpid` mount, NFS with squashed ids).
    fn created(&mut self, place: &Place<'_, '_>, mode: u32) -> Result<Option<Actual>, ApplyError> {
        let expected = Actual {
            owner: (self.ids.0, place.facts.group.unwrap_or(self.ids.1)),
            mode,
        };
        if self.exact && !self.verified {
            let stat = self
                .sys
                .statat(place.dir(), place.base)
                .map_err(place.cannot("look at"))?;
            let actual = Actual::of(&stat);
            let changed_by_folder = place.facts.default_acl || place.facts.group.is_some();
            self.verified = !changed_by_folder;
            let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
            self.exact =
                changed_by_folder || (actual.owner == expected.owner && (is_link || actual.mode == mode));
        }
        Ok((self.exact && !place.facts.default_acl).then_some(expected))
    }

    pub(super) fn file(
        &mut self,
        place: &Place<'_, '_>,
        entry: &Entry,
        wanted: &Wanted,
        reader: &mut Reader<'_>,
    ) -> Result<(), ApplyError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = wanted.mode & PERMISSIONS;
        let file = self.make(place, "create", |sys, dir, base| {
            sys.openat(dir, base, flags, mode)
        })?;
        let fd = file.as_fd();
        let actual = self.created(place, mode)?;
        if entry.sparse {
            self.sys
                .ftruncate(fd, entry.size)
                .map_err(place.cannot("set the size of"))?;
        }
        while let Some(data) = reader.next_data()? {
            self.report.bytes += data.bytes.len() as u64;
            let mut rest = &data.bytes[..];
            let mut offset = data.offset;
            while !rest.is_empty() {
                let written = match entry.sparse {
                    true => self.sys.pwrite(fd, rest, offset),
                    false => self.sys.write(fd, rest),
                };
                let written = match written {
                    Ok(0) => Err(Errno::IO),
                    other => other,
                }
                .map_err(place.cannot("write"))?;
                rest = &rest[written..];
                offset += written as u64;
            }
        }
        self.attributes(
            place,
            entry,
            wanted,
            Target {
                fd: Some(fd),
                kind: FileType::RegularFile,
                actual,
            },
        )?;
        self.sys.close(file);
        Ok(())
    }

    pub(super) fn folder(
        &mut self,
        place: &Place<'_, '_>,
        entry: &Entry,
        wanted: &Wanted,
    ) -> Result<(), ApplyError> {
        // Whoever is not root could not create anything in a folder that is not writable: its mode waits for the end.
        let is_root = self.ids.0 == 0;
        let waits = !is_root && (self.modes_wait || wanted.mode & OWNER_ALL != OWNER_ALL);
        self.modes_wait |= waits;
        let now = if waits {
            Wanted {
                mode: wanted.mode | OWNER_ALL,
                ..*wanted
            }
        } else {
            *wanted
        };
        let mode = now.mode & PERMISSIONS;
        let made = match self.sys.mkdirat(place.dir(), place.base, mode) {
            Err(Errno::EXIST) => self.existing_folder(place)?,
            Err(errno) => return Err(place.cannot("create the folder")(errno)),
            Ok(()) => None,
        };
        let actual = match made {
            Some(there) => Some(there),
            None if place.facts.group.is_some() => None,
            None => self.created(place, mode)?,
        };
        if made.is_some_and(|there| (there.mode | now.mode) & SETGID != 0) {
            // Handles know the group that a folder gives on.
            self.folders.forget();
        }
        self.attributes(
            place,
            entry,
            &now,
            Target {
                fd: None,
                kind: FileType::Directory,
                actual,
            },
        )?;
        let mode = waits.then(|| u16::try_from(wanted.mode).unwrap_or(0));
        let finish = Finish {
            accessed: wanted.accessed,
            modified: wanted.modified,
            mode,
        };
        self.later.add(place.path, finish);
        Ok(())
    }

    /// What is in a new folder's way: a folder, which stays and is answered, or something else, which is replaced.
    fn existing_folder(&mut self, place: &Place<'_, '_>) -> Result<Option<Actual>, ApplyError> {
        let stat = self
            .sys
            .statat(place.dir(), place.base)
            .map_err(place.cannot("look at"))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            self.report.listed(stat.st_ino);
            return Ok(Some(Actual::of(&stat)));
        }
        self.clear_away(place)?;
        self.sys
            .mkdirat(place.dir(), place.base, OWNER_ALL)
            .map_err(place.cannot("create the folder"))?;
        let stat = self
            .sys
            .statat(place.dir(), place.base)
            .map_err(place.cannot("look at"))?;
        Ok(Some(Actual::of(&stat)))
    }

    pub(super) fn symlink(
        &mut self,
        place: &Place<'_, '_>,
        entry: &Entry,
        wanted: &Wanted,
    ) -> Result<(), ApplyError> {
        self.make(place, "create the link", |sys, dir, base| {
            sys.symlinkat(&entry.link, dir, base)
        })?;
        let actual = self.created(place, PERMISSIONS)?;
        self.attributes(
            place,
            entry,
            wanted,
            Target {
                fd: None,
                kind: FileType::Symlink,
                actual,
            },
        )
    }

    /// A second name for a file. Where it leads is found in the root, but a link there is not followed.
    pub(super) fn hard_link(
        &mut self,
        place: &Place<'_, '_>,
        entry: &Entry,
        wanted: &Wanted,
    ) -> Result<(), ApplyError> {
        let end = entry
            .link
            .iter()
            .rposition(|&byte| byte != b'/')
            .map_or(0, |last| last + 1);
        let (up, name) = split(&entry.link[..end]);
        if matches!(name, b"" | b"." | b"..") || name.contains(&0) {
            return Err(ApplyError::invalid(place.path, "a hard link to a folder"));
        }
        let cannot = place.cannot("find the target of the hard link");
        let from = self.link_folder(up).map_err(&cannot)?;
        let mut linked = self.sys.linkat(from.fd(), name, place.dir(), place.base);
        if linked == Err(Errno::EXIST) {
            let there = self.sys.statat(place.dir(), place.base).map_err(&cannot)?;
            let meant = self.sys.statat(from.fd(), name).map_err(&cannot)?;
            if (there.st_dev, there.st_ino) == (meant.st_dev, meant.st_ino) {
                linked = Ok(());
            } else {
                self.clear_away(place)?;
                linked = self.sys.linkat(from.fd(), name, place.dir(), place.base);
            }
        }
        linked.map_err(place.cannot("create the hard link"))?;
        let stat = self
            .sys
            .statat(place.dir(), place.base)
            .map_err(place.cannot("look at"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        self.attributes(
            place,
            entry,
            wanted,
            Target {
                fd: None,
                kind,
                actual: Some(Actual::of(&stat)),
            },
        )
    }

    /// The folder that a hard link's target is in. Unlike an entry's own name this is not cleaned by its text: a `..`
    /// after a link leads up from where the link leads to.
    fn link_folder(&mut self, path: &[u8]) -> Result<Rc<Folder<'a>>, Errno> {
        let mut parts = path
            .split(|&byte| byte == b'/')
            .filter(|part| !matches!(*part, b"" | b"."));
        if parts.clone().any(|part| part == b"..") {
            return self.folders.get_unclean(path);
        }
        let mut clean = Vec::with_capacity(path.len());
        if let Some(first) = parts.next() {
            clean.extend_from_slice(first);
        }
        for part in parts {
            clean.push(b'/');
            clean.extend_from_slice(part);
        }
        self.folders.get(&clean, None)
    }

    pub(super) fn device(
        &mut self,
        place: &Place<'_, '_>,
        entry: &Entry,
        wanted: &Wanted,
    ) -> Result<(), ApplyError> {
        let number = |number: i64, most: i64| {
            let number = Some(number).filter(|number| (0..=most).contains(number));
            let number = number.and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| ApplyError::invalid(place.path, "device number out of range"))
        };
        let numbers = (
            number(entry.dev_major, MAJOR_MAX)?,
            number(entry.dev_minor, MINOR_MAX)?,
        );
        let kind = match entry.kind {
            EntryKind::CharDevice => FileType::CharacterDevice,
            _ => FileType::BlockDevice,
        };
        self.special(place, entry, wanted, kind, numbers)
    }

    pub(super) fn special(
        &mut self,
        place: &Place<'_, '_>,
        entry: &Entry,
        wanted: &Wanted,
        kind: FileType,
        numbers: (u32, u32),
    ) -> Result<(), ApplyError> {
        let mode = wanted.mode & PERMISSIONS;
        self.make(place, "create", |sys, dir, base| {
            sys.mknodat(dir, base, kind, mode, numbers)
        })?;
        let actual = self.created(place, mode)?;
        self.attributes(
            place,
            entry,
            wanted,
            Target {
                fd: None,
                kind,
                actual,
            },
        )
    }
}
