//! What tells whether something came into a folder or left it: its number and the times that the file system keeps of it.
//!
//! Every file system here sets the time of a folder when a name in it is made, removed or renamed. Times are taken from a clock
//! that stands still for some milliseconds, so of two changes at nearly the same time the second may not show: a folder has a
//! stamp only when its last change is longer ago than that.

use std::time::{Duration, SystemTime};

use rustix::fs::{self, OFlags, Stat};

use super::root::Root;
use crate::driver::Stamp;
use crate::{StoragePath, limits};

/// ext2 to ext4, XFS, Btrfs, tmpfs, overlayfs, F2FS, ZFS, bcachefs: the kernel of this machine makes every change of theirs. Of a
/// folder of another machine (NFS, 9p, FUSE) nobody here knows when its times are looked at anew.
const LOCAL: [u32; 8] = [
    0x0000_ef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
];

/// The stamp of a folder, if it can have one now.
pub(super) fn of(root: &Root, folder: &StoragePath) -> Option<Stamp> {
    let fd = root.open_at(folder, OFlags::PATH | OFlags::DIRECTORY).ok()?;
    let kind = fs::fstatfs(&fd).ok()?.f_type;
    if !LOCAL.iter().any(|known| i64::from(*known) == kind) {
        return None;
    }
    let stat = fs::fstat(&fd).ok()?;
    settled(&stat, SystemTime::now()).then(|| stamp(&stat))
}

/// Whether the last change is so long ago that another one would have another time.
fn settled(stat: &Stat, now: SystemTime) -> bool {
    // Not every file system keeps parts of a second.
    let wait = match stat.st_ctime_nsec {
        0 => limits::STAMP_AFTER_SECONDS,
        _ => limits::STAMP_AFTER,
    };
    let (seconds, nanos) = (u64::try_from(stat.st_ctime), u32::try_from(stat.st_ctime_nsec));
    let (Ok(seconds), Ok(nanos)) = (seconds, nanos) else {
        return false;
    };
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos));
    let age = changed.and_then(|changed| now.duration_since(changed).ok());
    age.is_some_and(|age| age >= wait)
}

fn stamp(stat: &Stat) -> Stamp {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend(stat.st_dev.to_le_bytes());
    bytes.extend(stat.st_ino.to_le_bytes());
    bytes.extend(stat.st_ctime.to_le_bytes());
    bytes.extend(stat.st_ctime_nsec.to_le_bytes());
    bytes.extend(stat.st_mtime.to_le_bytes());
    bytes.extend(stat.st_mtime_nsec.to_le_bytes());
    Stamp::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_just_now_may_change_again_unseen() {
        let mut stat = fs::stat("/").unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let mut settled_at = |seconds, nanos| {
            (stat.st_ctime, stat.st_ctime_nsec) = (seconds, nanos);
            settled(&stat, now)
        };
        assert!(settled_at(999, 900_000_000));
        assert!(!settled_at(999, 900_000_001));
        // Whole seconds only: the clock may have stood still for two of them.
        assert!(settled_at(998, 0) && !settled_at(999, 0));
        // A clock that was set back, and a time before there were any.
        assert!(!settled_at(1_001, 1) && !settled_at(-1, 1));
    }
}
