//! Owner, extended attributes, mode and times of one entry, in this order: a change of owner takes away setuid bits and
//! file capabilities, and the times come last.

use std::os::fd::BorrowedFd;

use transom_sys::{Errno, FileType, Stat, Sys, Times, XattrFlags};

use super::Ownership;
use super::error::{ApplyError, printable};
use super::later::timespec;
use super::worker::{Place, Worker};
use crate::tar::{Entry, Time};

/// `chown`'s value for an id that stays.
const LEAVE: u32 = u32::MAX;

/// The bits of a mode that creation may not give.
const SPECIAL: u32 = 0o7000;

/// What an entry wants its file to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Owner and group; either may be [`LEAVE`].
    pub(super) owner: (u32, u32),
    /// Twelve bits.
    pub(super) mode: u32,
    /// Nanoseconds since 1970.
    pub(super) accessed: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: u64,
}

/// What a file is like, before its attributes are set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actual {
    pub(super) owner: (u32, u32),
    pub(super) mode: u32,
}

impl Actual {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            owner: (stat.st_uid, stat.st_gid),
            mode: stat.st_mode & 0o7777,
        }
    }
}

/// The file whose attributes are set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'t> {
    /// A descriptor that can be written to; without it the file is named by its place.
    pub(super) fd: Option<BorrowedFd<'t>>,
    pub(super) kind: FileType,
    /// What it is like, if that is known for sure.
    pub(super) actual: Option<Actual>,
}

impl Wanted {
    pub(super) fn of(entry: &Entry, path: &[u8], ownership: Ownership) -> Result<Self, ApplyError> {
        let owner = match ownership {
            Ownership::Ignore => (LEAVE, LEAVE),
            Ownership::Keep => (id(entry.uid, path)?, id(entry.gid, path)?),
        };
        let accessed = entry.atime.map_or(entry.mtime, |atime| atime.max(entry.mtime));
        Ok(Self {
            owner,
            mode: u32::try_from(entry.mode & 0o7777).unwrap_or(0),
            accessed: bounded(accessed),
            modified: bounded(entry.mtime),
        })
    }

    fn times(&self) -> Times {
        Times {
            accessed: timespec(self.accessed),
            modified: timespec(self.modified),
        }
    }
}

/// A user or group id; -1 leaves it as it is, as in `chown`.
fn id(number: i64, path: &[u8]) -> Result<u32, ApplyError> {
    match number {
        -1 => Ok(LEAVE),
        _ => u32::try_from(number).map_err(|_| ApplyError::invalid(path, "owner or group out of range")),
    }
}

/// Nanoseconds since 1970; 0 for times before that, or after what 63 bits hold (the year 2262).
fn bounded(time: Time) -> u64 {
    let nanos = u64::try_from(time.seconds)
        .ok()
        .and_then(|seconds| seconds.checked_mul(1_000_000_000))
        .and_then(|nanos| nanos.checked_add(u64::from(time.nanos)));
    nanos.filter(|&nanos| i64::try_from(nanos).is_ok()).unwrap_or(0)
}

impl<S: Sys> Worker<'_, S> {
    /// Sets all attributes of a file but a folder's times, with no call for what it has already. Answers whether the
    /// mode was set.
    pub(super) fn attributes(
        &mut self,
        place: &Place<'_, '_>,
        entry: &Entry,
        wanted: &Wanted,
        target: Target<'_>,
    ) -> Result<(), ApplyError> {
        let chowned = self.owner(place, wanted, target)?;
        let has_acl = self.xattrs(place, entry, target)?;
        let is_link = target.kind == FileType::Symlink;
        let lost_bits = chowned && wanted.mode & SPECIAL != 0;
        let differs = target.actual.is_none_or(|actual| actual.mode != wanted.mode);
        if !is_link && (differs || lost_bits || has_acl) {
            match target.fd {
                Some(fd) => self.sys.fchmod(fd, wanted.mode),
                None => self.sys.fchmodat(place.dir(), place.base, wanted.mode),
            }
            .map_err(place.cannot("set the mode of"))?;
        }
        match (target.fd, target.kind) {
            (_, FileType::Directory) => return Ok(()),
            (Some(fd), _) => self.sys.futimens(fd, wanted.times()),
            (None, _) => self.sys.utimensat(place.dir(), place.base, wanted.times()),
        }
        .map_err(place.cannot("set the times of"))
    }

    fn owner(
        &mut self,
        place: &Place<'_, '_>,
        wanted: &Wanted,
        target: Target<'_>,
    ) -> Result<bool, ApplyError> {
        let (uid, gid) = wanted.owner;
        let is_same = match target.actual {
            Some(actual) => {
                (uid == LEAVE || uid == actual.owner.0) && (gid == LEAVE || gid == actual.owner.1)
            }
            None => (uid, gid) == (LEAVE, LEAVE),
        };
        if is_same {
            return Ok(false);
        }
        let done = match target.fd {
            Some(fd) => self.sys.fchown(fd, uid, gid),
            None => self.sys.fchownat(place.dir(), place.base, uid, gid),
        };
        done.map_err(|errno| self.owner_error(place.path, errno))?;
        Ok(true)
    }

    fn owner_error(&self, path: &[u8], errno: Errno) -> ApplyError {
        let hint = match errno {
            Errno::INVAL if self.sys.in_user_namespace() => {
                " (the id is not mapped into this user namespace; give more ids in /etc/subuid and /etc/subgid)"
            }
            Errno::PERM => " (only root can give files away; unpack without owners, or as root)",
            _ => return ApplyError::io(path, "set the owner of", errno),
        };
        ApplyError::Io {
            entry: printable(path),
            action: "set the owner of",
            errno,
            hint,
        }
    }

    /// Answers whether an ACL among them may have changed the mode.
    fn xattrs(
        &mut self,
        place: &Place<'_, '_>,
        entry: &Entry,
        target: Target<'_>,
    ) -> Result<bool, ApplyError> {
        let mut has_acl = false;
        for (key, value) in &entry.xattrs {
            let set = if key.starts_with(b"trusted.") {
                // They are the host's own marks, such as overlayfs's; no archive may set them.
                Err(Errno::NOTSUP)
            } else if let Some(fd) = target.fd {
                self.sys.fsetxattr(fd, key, value, XattrFlags::empty())
            } else {
                self.sys.setxattrat(place.dir(), place.base, key, value)
            };
            match set {
                Ok(()) => has_acl |= key.starts_with(b"system.posix_acl_"),
                Err(errno) if self.may_leave_out(key, errno, target.kind) => {
                    self.warn(place.path, || {
                        format!("extended attribute {} left out: {errno}", printable(key))
                    });
                }
                Err(errno) => return Err(place.cannot("set an extended attribute of")(errno)),
            }
        }
        if has_acl && target.kind == FileType::Directory {
            self.may_have_acl = true;
            self.folders.forget();
        }
        Ok(has_acl)
    }

    fn may_leave_out(&self, key: &[u8], errno: Errno, kind: FileType) -> bool {
        match errno {
            Errno::NOTSUP => true,
            // Only files and folders can have them.
            Errno::PERM if key.starts_with(b"user.") => {
                !matches!(kind, FileType::RegularFile | FileType::Directory)
            }
            Errno::PERM => self.options.ownership == Ownership::Ignore,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_of_what_the_kernel_and_go_hold_are_the_epoch() {
        let time = |seconds, nanos| bounded(Time { seconds, nanos });
        assert_eq!(time(-1, 999_999_999), 0);
        assert_eq!(time(0, 1), 1);
        assert_eq!(time(1, 5), 1_000_000_005);
        assert_eq!(time(9_223_372_036, 854_775_807), i64::MAX.unsigned_abs());
        assert_eq!(time(9_223_372_036, 854_775_808), 0);
        assert_eq!(time(i64::MAX, 0), 0);
    }
}
